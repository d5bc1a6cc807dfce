//! Points in a Parquet file.
//!
//! Owns: the columns and their encoding, row groups of bounded size. Must not know: the source of points.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use crate::series::Point;

/// As in the other formats, times are seconds since the Unix epoch as doubles, the type used in event files. An unknown
/// time is null, because it was never measured. A NaN value stays NaN, because it was.
const COLUMNS: &str = "message scalars {
    required binary run (STRING);
    required binary tag (STRING);
    required int64 step;
    optional double wall_time;
    required double value;
}";

/// Rows per group: about 8 MiB in memory, and large enough to read the columns of a group at disk speed.
const ROWS: usize = 1 << 18;

/// A group ends earlier if its names reach this size, for example if every tag occurs only once.
const NAME_BYTES: usize = 8 << 20;

/// Number of values passed at a time.
const BATCH: usize = 4096;

pub(super) struct Columns<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Vec<Row>,
    /// Run and tag of each series in this group.
    series: Vec<(ByteArray, ByteArray)>,
    name_bytes: usize,
    run: String,
    /// The series of `run` by tag.
    of_run: HashMap<String, usize>,
}

struct Row {
    series: usize,
    point: Point,
}

impl<W: Write + Send> Columns<W> {
    pub(super) fn new(out: W) -> Result<Columns<W>> {
        Ok(Columns {
            file: SerializedFileWriter::new(out, Arc::new(parse_message_type(COLUMNS)?), properties())?,
            rows: Vec::new(),
            series: Vec::new(),
            name_bytes: 0,
            run: String::new(),
            of_run: HashMap::new(),
        })
    }

    pub(super) fn point(&mut self, run: &str, tag: &str, point: Point) -> Result<()> {
        if self.run != run {
            run.clone_into(&mut self.run);
            self.of_run.clear();
        }
        let series = match self.of_run.get(tag) {
            Some(&series) => series,
            None => self.new_series(tag),
        };
        self.rows.push(Row { series, point });
        if self.rows.len() >= ROWS || self.name_bytes >= NAME_BYTES { self.end_group() } else { Ok(()) }
    }

    fn new_series(&mut self, tag: &str) -> usize {
        self.series.push((ByteArray::from(self.run.as_str()), ByteArray::from(tag)));
        self.name_bytes += self.run.len() + tag.len();
        self.of_run.insert(tag.to_owned(), self.series.len() - 1);
        self.series.len() - 1
    }

    fn end_group(&mut self) -> Result<()> {
        let (rows, series) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.series));
        self.of_run.clear();
        self.name_bytes = 0;
        let mut group = self.file.next_row_group()?;
        column::<ByteArrayType, _>(&mut group, &rows, |row| Some(series[row.series].0.clone()))?;
        column::<ByteArrayType, _>(&mut group, &rows, |row| Some(series[row.series].1.clone()))?;
        column::<Int64Type, _>(&mut group, &rows, |row| Some(row.point.step))?;
        column::<DoubleType, _>(&mut group, &rows, |row| Some(row.point.wall_time).filter(|time| !time.is_nan()))?;
        column::<DoubleType, _>(&mut group, &rows, |row| Some(row.point.value))?;
        group.close()?;
        Ok(())
    }

    /// Writes the remaining rows and the file index.
    pub(super) fn finish(mut self) -> Result<()> {
        if !self.rows.is_empty() {
            self.end_group()?;
        }
        self.file.close()?;
        Ok(())
    }
}

/// Writes the next column of a group. `None` is null, if the column permits it.
fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[Row],
    value: impl Fn(&Row) -> Option<T::T>,
) -> Result<()> {
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    for rows in rows.chunks(BATCH) {
        let values: Vec<Option<T::T>> = rows.iter().map(&value).collect();
        let defined: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
        let there: Vec<T::T> = values.into_iter().flatten().collect();
        // Required columns have no levels.
        column.typed::<T>().write_batch(&there, Some(&defined), None)?;
    }
    column.close()
}

fn properties() -> WriterPropertiesPtr {
    let builder = WriterProperties::builder()
        .set_created_by(concat!("nextrun ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        // Steps increase at regular intervals.
        .set_column_encoding(ColumnPath::from("step"), Encoding::DELTA_BINARY_PACKED);
    let names = ["run", "tag"].into_iter();
    let builder =
        names.fold(builder, |builder, name| builder.set_column_dictionary_enabled(ColumnPath::from(name), true));
    Arc::new(builder.build())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::RowAccessor as _;

    use super::*;

    /// Standard output for a file that is read later.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no test panics with it").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(points: &[(&str, &str, Point)]) -> SerializedFileReader<bytes::Bytes> {
        let out = Shared::default();
        let mut columns = Columns::new(out.clone()).expect("a file");
        points.iter().for_each(|(run, tag, point)| columns.point(run, tag, *point).expect("a row"));
        columns.finish().expect("a file");
        let bytes = std::mem::take(&mut *out.0.lock().expect("no test panics with it"));
        SerializedFileReader::new(bytes.into()).expect("a Parquet file")
    }

    #[test]
    fn what_was_written_is_read_back() {
        let point = |step, wall_time, value| Point { step, wall_time, value };
        let points = [
            ("a", "loss", point(-1, 1.7e9 + 0.123_456_7, 0.5)),
            ("a", "lr", point(i64::MAX, f64::NAN, f64::NEG_INFINITY)),
            ("b/ü", "loss", point(0, 0.0, f64::NAN)),
            ("a", "loss", point(7, 1.0, 1e-300)),
        ];
        let file = written(&points);
        let rows: Vec<_> = file.get_row_iter(None).expect("rows").map(|row| row.expect("a row")).collect();
        assert_eq!(rows.len(), points.len());
        for (row, (run, tag, point)) in rows.iter().zip(points) {
            assert_eq!(
                (row.get_string(0).expect("run").as_str(), row.get_string(1).expect("tag").as_str()),
                (run, tag)
            );
            assert_eq!(row.get_long(2).expect("step"), point.step);
            let time = if point.wall_time.is_nan() { None } else { Some(point.wall_time) };
            assert_eq!(row.get_double(3).ok(), time);
            assert_eq!(row.get_double(4).expect("value").to_bits(), point.value.to_bits());
        }
    }

    #[test]
    fn groups_are_bounded_and_nothing_is_a_file_too() {
        let point = Point { step: 0, wall_time: 0.0, value: 0.0 };
        assert_eq!(written(&[]).metadata().file_metadata().num_rows(), 0);
        let many = vec![("run", "tag", point); ROWS + 1];
        assert_eq!(written(&many).metadata().num_row_groups(), 2);
        let tags: Vec<String> = (0..10).map(|i| format!("{i}{}", "x".repeat(NAME_BYTES / 5))).collect();
        let long: Vec<_> = tags.iter().map(|tag| ("run", tag.as_str(), point)).collect();
        assert_eq!(written(&long).metadata().num_row_groups(), 2);
    }
}
