//! Made-up training jobs of a large site: mostly healthy, a few that fail from some time on.
//!
//! Owns: their curves, and when a fault begins. Must not know: how they are judged.

use nextrun::series::{Point, RunData};

/// Seconds between two points of a job.
pub(crate) const PACE: f64 = 600.0;

/// What is wrong with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Its loss becomes NaN.
    NotFinite,
    /// Its loss grows until it is far above its start.
    Diverges,
    /// Its loss stays where it started.
    Stuck,
}

/// A job, and how far it is.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) fault: Fault,
    /// When it ends, in seconds since the Unix epoch.
    pub(crate) ends: f64,
    /// When its fault shows in its numbers: at its start, for one that is stuck.
    pub(crate) onset: f64,
    /// When its next point is logged.
    pub(crate) next: f64,
    step: i64,
    seed: u64,
    /// The share of its loss that it learns, and how fast, in points.
    falls: f64,
    tau: f64,
    noise: f64,
}

/// A number in 0..1 that depends on nothing but its arguments.
pub(crate) fn draw(seed: u64, what: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what.wrapping_mul(0xd1b5_4a32_d192_ed03);
    for _ in 0..3 {
        x = (x ^ x >> 31).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    (x >> 11) as f64 / (1u64 << 53) as f64
}

impl Job {
    /// The job of this number that begins at a time and lasts so long, with a share of faults.
    pub(crate) fn new(number: u64, begun: f64, lasts: f64, failing: f64) -> Job {
        let fault = match draw(number, 1) / failing {
            x if x >= 1.0 => Fault::None,
            x if x < 0.34 => Fault::NotFinite,
            x if x < 0.67 => Fault::Diverges,
            _ => Fault::Stuck,
        };
        let at = if fault == Fault::Stuck { 0.0 } else { 0.2 + 0.5 * draw(number, 2) };
        Job {
            fault,
            ends: begun + lasts,
            onset: begun + at * lasts,
            next: begun + PACE * draw(number, 3),
            step: 0,
            seed: number,
            falls: 0.4 + 0.55 * draw(number, 4),
            tau: 4.0 + 20.0 * draw(number, 5),
            noise: 0.005 + 0.03 * draw(number, 6),
        }
    }

    /// Logs all points that are due.
    pub(crate) fn log(&mut self, data: &mut RunData, now: f64) -> u64 {
        let before = self.step;
        while self.next <= now.min(self.ends) {
            let (time, step) = (self.next, self.step * 100);
            let (loss, norm) = self.loss(time);
            data.event(time);
            for (tag, value) in [("train/loss", loss), ("grad_norm", norm), ("lr", 0.001)] {
                if let Some(id) = data.tag_id(tag) {
                    data.scalar(id, Point { step, wall_time: time, value });
                }
            }
            (self.step, self.next) = (self.step + 1, self.next + PACE);
        }
        (self.step - before) as u64
    }

    fn loss(&self, time: f64) -> (f64, f64) {
        let points = self.step as f64;
        let wave = self.noise * (draw(self.seed, 100 + self.step as u64) - 0.5);
        let healthy = 2.3 * (1.0 - self.falls * (1.0 - (-points / self.tau).exp()) + wave);
        let since = (time - self.onset) / PACE;
        match self.fault {
            Fault::NotFinite if since >= 0.0 => (f64::NAN, f64::NAN),
            Fault::Diverges if since >= 0.0 => (healthy * (1.0 + since * since), 1.0 + 3.0 * since),
            Fault::Stuck => (2.303 * (1.0 + 0.2 * wave), 0.01),
            _ => (healthy, 0.3 + wave),
        }
    }
}
