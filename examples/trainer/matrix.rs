//! Dense single-precision matrices, and the one product that all layers are made of.
//!
//! Owns: the layout (row by row) and the inner loops. Must not know: layers, gradients, data.

/// Rows of equal width. One row is one example, or one position of an example.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Matrix {
    /// Number of rows.
    pub(crate) rows: usize,
    /// Values in a row.
    pub(crate) width: usize,
    /// All values, row after row.
    pub(crate) values: Vec<f32>,
}

impl Matrix {
    /// A matrix of zeros.
    pub(crate) fn zeros(rows: usize, width: usize) -> Matrix {
        Matrix { rows, width, values: vec![0.0; rows * width] }
    }

    /// Takes values that lie row after row; what does not fill a row is dropped.
    pub(crate) fn from_values(width: usize, mut values: Vec<f32>) -> Matrix {
        let rows = values.len() / width;
        values.truncate(rows * width);
        Matrix { rows, width, values }
    }

    /// The rows one after the other.
    pub(crate) fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.width)
    }

    /// The rows one after the other, to be changed.
    pub(crate) fn iter_mut(&mut self) -> std::slice::ChunksExactMut<'_, f32> {
        self.values.chunks_exact_mut(self.width)
    }

    /// Some of the rows, in the given order.
    pub(crate) fn pick(&self, rows: &[usize]) -> Matrix {
        let values = rows.iter().flat_map(|&row| &self.values[row * self.width..][..self.width]).copied().collect();
        Matrix { rows: rows.len(), width: self.width, values }
    }

    /// The same values in rows of another width.
    pub(crate) fn reshaped(self, width: usize) -> Matrix {
        Matrix::from_values(width, self.values)
    }

    /// Columns as rows.
    pub(crate) fn transposed(&self) -> Matrix {
        let mut out = Matrix::zeros(self.width, self.rows);
        for (i, row) in self.iter().enumerate() {
            for (j, &value) in row.iter().enumerate() {
                out.values[j * self.rows + i] = value;
            }
        }
        out
    }

    /// The matrix product; `right` has as many rows as this matrix has columns.
    pub(crate) fn times(&self, right: &Matrix) -> Matrix {
        let mut out = Matrix::zeros(self.rows, right.width);
        let mut column = 0;
        while column < right.width {
            column += match right.width - column {
                16.. => self.panel::<16>(right, column, &mut out),
                8.. => self.panel::<8>(right, column, &mut out),
                _ => self.panel::<1>(right, column, &mut out),
            };
        }
        out
    }

    /// `WIDTH` columns of a product. A fixed width keeps the sums in registers.
    fn panel<const WIDTH: usize>(&self, right: &Matrix, column: usize, out: &mut Matrix) -> usize {
        for (left, sums) in self.iter().zip(out.iter_mut()) {
            let mut panel = [0.0f32; WIDTH];
            for (&factor, row) in left.iter().zip(right.iter()) {
                for (sum, &value) in panel.iter_mut().zip(&row[column..column + WIDTH]) {
                    *sum += factor * value;
                }
            }
            sums[column..column + WIDTH].copy_from_slice(&panel);
        }
        WIDTH
    }
}

#[cfg(test)]
mod tests {
    use super::Matrix;

    #[test]
    fn product_is_the_sum_over_the_inner_index_at_every_panel_width() {
        for width in [1, 7, 8, 16, 27] {
            let left = Matrix::from_values(3, (0..6).map(|v| v as f32).collect());
            let right = Matrix::from_values(width, (0..3 * width).map(|v| v as f32 * 0.5).collect());
            let product = left.times(&right);
            for i in 0..2 {
                for j in 0..width {
                    let by_hand: f32 = (0..3).map(|k| left.values[i * 3 + k] * right.values[k * width + j]).sum();
                    assert_eq!(product.values[i * width + j], by_hand);
                }
            }
        }
    }

    #[test]
    fn transposing_twice_changes_nothing() {
        let matrix = Matrix::from_values(3, (0..12).map(|v| v as f32).collect());
        assert_eq!(matrix.transposed().transposed(), matrix);
    }
}
