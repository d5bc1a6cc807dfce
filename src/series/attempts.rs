//! One scalar tag of a run, and the interpretation of steps that go back.
//!
//! Owns: distinguishing a restart from other patterns in step numbers. Must not know: files.

use super::point::Point;
use super::sketch::{Order, Sketch};

/// A part of a series that a restart replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The step at which the next attempt began.
    pub restarted_at: i64,
    /// The points of this attempt up to then.
    pub sketch: Sketch,
}

/// Maximum number of replaced attempts per series; the oldest are dropped first.
const MAX_EARLIER: usize = 2;

/// Number of initial values of an attempt that decide whether it starts over or continues: enough for a median that is
/// robust against single outliers.
const TRIAL: usize = 8;

/// One scalar tag of a run.
///
/// A step that goes back is usually a restart from a checkpoint: the later points were replaced and are kept as an
/// earlier [`Attempt`]. There are exceptions:
///
/// - if it goes back by no more than the usual distance of neighbours, two points are in the wrong order;
/// - if it goes back to the beginning while the values continue, the program restarts its step count in each epoch, and
///   the rounds are concatenated;
/// - if the step never changes, the points are counted instead.
///
/// In the last two cases, points get steps that the program did not log.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The latest attempt, including the points that it kept from before its restart.
    pub sketch: Sketch,
    /// Attempts that were replaced, oldest first.
    pub earlier: Vec<Attempt>,
    /// The number of detected restarts.
    pub restarts: u32,
    /// A logged step greater than this needs no check; `i64::MAX` while a check is pending.
    follows: i64,
    round: Round,
}

/// The points since the step last went back.
#[derive(Debug, Clone, PartialEq, Default)]
struct Round {
    /// First and latest step as logged; `None` before the first point.
    steps: Option<(i64, i64)>,
    /// Points of the sketch before it.
    points_before: u64,
    /// The offset added to logged steps.
    moved: i64,
    /// Usual distance of neighbours, as an earlier round had it.
    usual: u64,
    /// Set until it is clear whether it is a restart.
    on_trial: Option<Box<Trial>>,
}

/// A round that began where the one before it began.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Trial {
    /// The step at which it goes on if it turns out to be no restart.
    goes_on_at: i64,
    /// So many points decide.
    points: u64,
}

impl Default for Series {
    fn default() -> Self {
        Series {
            sketch: Sketch::default(),
            earlier: Vec::new(),
            restarts: 0,
            follows: i64::MAX,
            round: Round::default(),
        }
    }
}

impl Series {
    /// Takes one more point; [`Series::settle`] is owed.
    #[inline(always)]
    pub(super) fn push(&mut self, point: Point) {
        if point.step > self.follows {
            self.follows = point.step;
            self.sketch.push_open(point);
        } else {
            self.push_thoughtfully(point.step, point.wall_time, point.value);
        }
    }

    /// The series as it was when it had reached `step`; see [`Sketch::until`].
    #[must_use]
    pub fn until(&self, step: i64) -> Series {
        let earlier: Vec<Attempt> = self.earlier.iter().filter(|a| a.restarted_at <= step).cloned().collect();
        let undone = u32::try_from(self.earlier.len() - earlier.len()).unwrap_or(u32::MAX);
        let restarts = self.restarts.saturating_sub(undone);
        Series { sketch: self.sketch.until(step), earlier, restarts, ..Series::default() }
    }

    /// Brings the sketch up to date.
    pub(super) fn settle(&mut self) {
        self.sketch.settle();
    }

    #[cold]
    fn push_thoughtfully(&mut self, step: i64, wall_time: f64, value: f64) {
        let point = Point { step, wall_time, value };
        if self.follows != i64::MAX {
            // Points that followed plainly have moved the newest step on.
            self.round.steps = self.round.steps.map(|(first, _)| (first, self.follows));
        }
        let Some((first, newest)) = self.round.steps else { return self.start_round(point) };
        if point.step == newest && first == newest && self.points_of_round() == self.sketch.count() {
            let counted = newest.saturating_add_unsigned(self.points_of_round());
            self.follows = i64::MAX;
            return self.sketch.push_open(Point { step: counted, ..point });
        }
        if first == newest && self.points_of_round() == self.sketch.count() && self.sketch.count() > 1 {
            self.sketch.collapse();
        }
        if point.step < newest && newest.abs_diff(point.step) > self.usual_distance() {
            return self.go_back(point);
        }
        self.push_moved(point);
        self.round.steps = Some((first, newest.max(point.step)));
        if self.round.on_trial.as_ref().is_some_and(|trial| self.points_of_round() >= trial.points) {
            self.judge();
        }
        self.plain_from_here();
    }

    fn start_round(&mut self, point: Point) {
        self.round.points_before = self.sketch.count();
        self.round.steps = Some((point.step, point.step));
        self.push_moved(point);
        self.plain_from_here();
    }

    fn push_moved(&mut self, point: Point) {
        self.sketch.push_open(Point { step: point.step.saturating_add(self.round.moved), ..point });
    }

    /// Steps may follow without further thought if logged steps are taken as they are.
    fn plain_from_here(&mut self) {
        let plain = self.round.moved == 0 && self.round.on_trial.is_none();
        self.follows = self.round.steps.filter(|_| plain).map_or(i64::MAX, |(_, newest)| newest);
    }

    fn points_of_round(&self) -> u64 {
        self.sketch.count().saturating_sub(self.round.points_before)
    }

    /// Usual distance of neighbouring steps; that of an earlier round where this one is too short to have one.
    fn usual_distance(&self) -> u64 {
        match (self.round.steps, self.points_of_round()) {
            (Some((first, newest)), points @ 2..) => newest.abs_diff(first) / (points - 1),
            _ => self.round.usual,
        }
    }

    fn go_back(&mut self, point: Point) {
        self.judge();
        let Some((first, newest)) = self.round.steps else { return self.start_round(point) };
        let usual = self.usual_distance();
        let moved = self.round.moved;
        let goes_on_at = newest.saturating_add(moved).saturating_add_unsigned(usual.max(1));
        if point.step > first.saturating_add_unsigned(usual) {
            self.restart(point.step.saturating_add(moved));
            self.round.moved = moved;
        } else if moved != 0 {
            // A program that has been seen to count anew in each round goes on doing so.
            self.round = Round { usual, moved: goes_on_at.saturating_sub(point.step), ..Round::default() };
        } else {
            let points = self.points_of_round().min(TRIAL as u64);
            let replaced = std::mem::take(&mut self.sketch);
            self.replace(point.step, replaced);
            self.round = Round { usual, on_trial: Some(Box::new(Trial { goes_on_at, points })), ..Round::default() };
        }
        self.start_round(point);
    }

    /// Ends the trial of a round that began where the one before it began: if its values stand where that one's
    /// ended rather than where they started, the program counts its steps anew in each round.
    fn judge(&mut self) {
        let (Some(trial), Some((first, _))) = (self.round.on_trial.take(), self.round.steps) else { return };
        self.settle();
        let Some(before) = self.earlier.pop_if(|before| goes_on(&before.sketch, &self.sketch)) else { return };
        let round = std::mem::replace(&mut self.sketch, before.sketch);
        self.round.moved = trial.goes_on_at.saturating_sub(first);
        self.round.points_before = self.sketch.count();
        self.sketch.absorb(&round, Order::After, self.round.moved);
        self.restarts -= 1;
    }

    fn replace(&mut self, restarted_at: i64, mut sketch: Sketch) {
        sketch.settle();
        if self.earlier.len() == MAX_EARLIER {
            self.earlier.remove(0);
        }
        self.earlier.push(Attempt { restarted_at, sketch });
        self.restarts += 1;
    }

    /// What the series has from `step` on was replaced.
    pub(super) fn restart(&mut self, step: i64) {
        self.settle();
        let usual = self.usual_distance();
        self.round = Round { usual, ..Round::default() };
        self.follows = i64::MAX;
        if self.sketch.last().is_none_or(|last| last.step < step) {
            return;
        }
        let fresh = self.sketch.restarted_at(step);
        let replaced = std::mem::replace(&mut self.sketch, fresh);
        self.replace(step, replaced);
    }

    /// Adds what another file of the same run has of this tag. Files that were written one after the other are
    /// attempts; from files that were written in the same time, points are put together.
    pub(super) fn absorb(&mut self, next: &Series) {
        let began = next.earlier.first().map_or(&next.sketch, |attempt| &attempt.sketch).first();
        let (Some(last), Some(began)) = (self.sketch.last(), began) else {
            if self.sketch.count() == 0 {
                *self = next.clone();
            }
            return;
        };
        let own = self.sketch.clone();
        if last.wall_time > began.wall_time {
            self.earlier.extend(next.earlier.iter().cloned());
            self.sketch.absorb(&next.sketch, Order::Beside, 0);
        } else {
            if began.step < last.step {
                self.replace(began.step, own.clone());
            }
            let joined = |attempt: &Attempt| Attempt { sketch: join(&own, &attempt.sketch), ..attempt.clone() };
            self.earlier.extend(next.earlier.iter().map(joined));
            self.sketch = join(&own, &next.sketch);
        }
        self.restarts += next.restarts;
        self.earlier.drain(..self.earlier.len().saturating_sub(MAX_EARLIER));
    }
}

/// A sketch that a later one goes on from.
fn join(own: &Sketch, next: &Sketch) -> Sketch {
    let (Some(last), Some(first)) = (own.last(), next.first()) else { return own.clone() };
    let mut joined = if first.step < last.step { own.restarted_at(first.step) } else { own.clone() };
    joined.absorb(next, Order::After, 0);
    joined
}

fn goes_on(before: &Sketch, after: &Sketch) -> bool {
    let start = median(before.head());
    let end = before.buckets().next_back().map(|(_, bucket)| bucket.mean);
    let level = median(after.head());
    let (Some(start), Some(end), Some(level)) = (start, end, level) else { return false };
    let noise = before.noise().unwrap_or(0.0);
    (level - end).abs() <= (level - start).abs().max(noise)
}

/// Median of the first finite values.
fn median(head: &[f64]) -> Option<f64> {
    let mut finite: Vec<f64> = head.iter().copied().filter(|value| value.is_finite()).take(TRIAL).collect();
    finite.sort_unstable_by(f64::total_cmp);
    finite.get(finite.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: impl IntoIterator<Item = (i64, f64)>) -> Series {
        let mut series = Series::default();
        for (i, (step, value)) in points.into_iter().enumerate() {
            series.push(Point { step, wall_time: i as f64, value });
        }
        series.settle();
        series
    }

    #[test]
    fn a_restart_from_a_checkpoint_is_an_attempt() {
        let s = series((0..100).chain(60..120).map(|step| (step * 10, 1.0)));
        assert_eq!((s.restarts, s.earlier.len()), (1, 1));
        assert_eq!(s.earlier[0].restarted_at, 600);
        assert_eq!(s.earlier[0].sketch.last().map(|p| p.step), Some(990));
        assert_eq!(s.sketch.last().map(|p| p.step), Some(1190));
        assert!(s.sketch.count() <= 120);
    }

    #[test]
    fn neighbours_in_the_wrong_order_are_no_restart() {
        let s = series([0, 10, 20, 40, 30, 50, 60, 80, 70, 90].map(|step| (step, 1.0)));
        assert_eq!((s.restarts, s.sketch.count()), (0, 10));
    }

    #[test]
    fn steps_that_start_over_each_epoch_are_put_one_behind_the_other() {
        let loss = |i: i64| 2.0 / (1.0 + i as f64 * 0.01);
        let s = series((0..500).map(|i| (i % 100, loss(i))));
        assert_eq!((s.restarts, s.sketch.count()), (0, 500));
        assert_eq!(s.sketch.last().map(|p| p.step), Some(499));
        assert_eq!(s.sketch.first().map(|p| p.value), Some(2.0));
    }

    #[test]
    fn short_epochs_are_put_one_behind_the_other_too() {
        let s = series((0..50).map(|i| (i % 5 * 10, 10.0 - i as f64 * 0.1)));
        assert_eq!((s.restarts, s.sketch.count()), (0, 50));
    }

    #[test]
    fn a_new_training_in_the_same_file_is_a_restart() {
        let loss = |i: i64| 2.0 / (1.0 + i as f64 * 0.1);
        let s = series((0..200).map(|i| (i % 100, loss(i % 100))));
        assert_eq!((s.restarts, s.earlier.len(), s.sketch.count()), (1, 1, 100));
        assert_eq!(s.earlier[0].restarted_at, 0);
    }

    #[test]
    fn steps_that_never_move_are_counted() {
        let s = series((0..100).map(|i| (0, f64::from(i))));
        assert_eq!(s.sketch.last().map(|p| p.step), Some(99));
        assert!(s.sketch.buckets().count() > 40);
    }

    #[test]
    fn steps_that_move_late_were_no_count() {
        let s = series([(0, 1.0), (0, 3.0), (0, 2.0), (10, 5.0), (20, 6.0)]);
        let means: Vec<_> = s.sketch.buckets().map(|(step, b)| (step, b.mean)).collect();
        assert_eq!(means, [(0.0, 2.0), (10.0, 5.0), (20.0, 6.0)]);
        assert_eq!(s.restarts, 0);
    }

    fn later(points: impl IntoIterator<Item = (i64, f64)>, from: f64) -> Series {
        let mut series = Series::default();
        for (i, (step, value)) in points.into_iter().enumerate() {
            series.push(Point { step, wall_time: from + i as f64, value });
        }
        series.settle();
        series
    }

    #[test]
    fn a_later_file_that_goes_back_is_a_restart() {
        let mut one = later((0..100).map(|i| (i, 1.0)), 0.0);
        one.absorb(&later((50..150).map(|i| (i, 2.0)), 1000.0));
        assert_eq!((one.restarts, one.earlier.len()), (1, 1));
        assert_eq!(one.sketch.last().map(|p| p.step), Some(149));
        assert_eq!(one.earlier[0].sketch.highest().map(|p| p.value), Some(1.0));
    }

    #[test]
    fn a_later_file_that_goes_on_is_none() {
        let mut one = later((0..100).map(|i| (i, 1.0)), 0.0);
        one.absorb(&later((100..150).map(|i| (i, 2.0)), 1000.0));
        assert_eq!((one.restarts, one.sketch.count()), (0, 150));
    }

    #[test]
    fn two_writers_at_once_lose_nothing() {
        let mut one = later((0..50).map(|i| (2 * i + 1, 1.0)), 0.5);
        let two = later((0..50).map(|i| (2 * i, 3.0)), 0.0);
        one.absorb(&two);
        assert_eq!((one.restarts, one.sketch.count()), (0, 100));
        assert_eq!(one.sketch.last().map(|p| p.step), Some(99));
        assert_eq!(one.sketch.first().map(|p| p.step), Some(0));
        let total: u32 = one.sketch.buckets().map(|(_, b)| b.count).sum();
        assert_eq!(total, 100);
    }
}
