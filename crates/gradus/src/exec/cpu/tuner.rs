//! Whether the steps of a plan are quicker with all threads or with one, found out by trying both now and then.
//!
//! What threads cost each other depends on where the system runs them just now: on cores that share a cache, a number that
//! another has written is 75 ns away, on cores that do not 250 ns, and steps of half a millisecond are slower with two threads
//! than with one there. Results do not depend on it: every kernel gives the same bits with any number of threads.

use std::time::{Duration, Instant};

use gradus_kernels::{Cpu as Machine, Pool};

use crate::program::{Phase, Program};

/// Steps of so many operations are tried: smaller ones are not split, larger ones are always quicker with all threads.
const TRIED: std::ops::Range<u64> = 300_000..1_000_000_000;

/// So many steps are timed with all threads, then with one; their medians count, as single steps can be much quicker or slower.
const TRIES: usize = 9;

/// After that, the choice stays for so many steps, or so long if that is more of them.
const STAYS: u32 = 200;
const STAYS_FOR: Duration = Duration::from_millis(250);

/// The machine that was asked for, and the same with one thread.
#[derive(Debug)]
pub(super) struct Machines {
    all: Machine,
    one: Machine,
    /// Whether the last batch fed is run with one.
    pub alone: bool,
}

impl Machines {
    pub fn new(all: Machine) -> Machines {
        Machines { one: Machine { isa: all.isa, pool: Pool::new(1) }, all, alone: false }
    }

    /// How many threads a batch may be run with.
    pub fn threads(&self) -> usize {
        self.all.pool.threads()
    }

    /// What the last batch fed is run on.
    pub fn now(&self) -> &Machine {
        if self.alone { &self.one } else { &self.all }
    }

    /// For a plan of that program.
    pub fn tuner(&self, program: &Program, batch: usize) -> Tuner {
        let phases = [Phase::Forward, Phase::Loss, Phase::Backward];
        Tuner::new(self.threads(), phases.map(|phase| program.cost(phase, "", batch).flops).iter().sum())
    }
}

/// The choice for one plan.
#[derive(Debug)]
pub(super) struct Tuner {
    /// None where there is nothing to choose.
    trial: Option<Trial>,
    alone: bool,
}

#[derive(Debug)]
struct Trial {
    /// Steps before the next trial; 0 while one goes on.
    rest: u32,
    /// Steps timed yet, of those with as many threads, and their seconds a sample.
    timed: usize,
    times: [f64; TRIES],
    /// When the last step began, and of how many samples it is.
    last: Option<(Instant, usize)>,
    /// The median with all threads.
    together: f64,
}

impl Tuner {
    /// For a plan whose steps have so many operations.
    fn new(threads: usize, flops: u64) -> Tuner {
        // The first steps find cold caches.
        let trial = Trial::after(TRIES as u32);
        Tuner { trial: (threads > 1 && TRIED.contains(&flops)).then_some(trial), alone: false }
    }

    /// A step of `samples` begins: whether it takes one thread alone.
    pub fn begin(&mut self, samples: usize) -> bool {
        match &mut self.trial {
            Some(trial) if trial.rest > 0 => trial.rest -= 1,
            Some(_) => self.trying(samples, Instant::now()),
            None => {}
        }
        self.alone
    }

    fn trying(&mut self, samples: usize, now: Instant) {
        let Some(trial) = &mut self.trial else { return };
        let Some((began, last)) = trial.last.replace((now, samples)) else {
            // The first of all: what it takes is known when the next begins.
            self.alone = false;
            return;
        };
        trial.times[trial.timed] = (now - began).as_secs_f64() / last as f64;
        trial.timed += 1;
        if trial.timed < TRIES {
            return;
        }
        trial.timed = 0;
        trial.times.sort_unstable_by(f64::total_cmp);
        let median = trial.times[TRIES / 2];
        if !self.alone {
            (self.alone, trial.together) = (true, median);
            return;
        }
        self.alone = median < trial.together;
        let stays = STAYS_FOR.as_secs_f64() / (median.min(trial.together) * samples as f64);
        // A quotient that is not finite is a step of no time, which stays at the least.
        *trial = Trial::after(if stays.is_finite() { (stays as u32).max(STAYS) } else { STAYS });
    }
}

impl Trial {
    /// One that begins after so many steps.
    fn after(rest: u32) -> Trial {
        Trial { rest, timed: 0, times: [0.0; TRIES], last: None, together: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `steps` of which each takes `times[0]` microseconds with all threads, `times[1]` alone; how many were alone.
    fn run(tuner: &mut Tuner, now: &mut Instant, steps: u32, times: [u64; 2]) -> u32 {
        let mut alone = 0;
        for _ in 0..steps {
            let step = match &mut tuner.trial {
                Some(trial) if trial.rest > 0 => tuner.begin(50),
                _ => {
                    tuner.trying(50, *now);
                    tuner.alone
                }
            };
            alone += u32::from(step);
            *now += Duration::from_micros(times[usize::from(step)]);
        }
        alone
    }

    #[test]
    fn the_quicker_is_taken_and_tried_again() {
        let (mut tuner, mut now) = (Tuner::new(2, 1_000_000), Instant::now());
        // All threads are quicker: alone for the tries of a trial alone. A choice stays for 250 ms.
        let steps = 50_000;
        let alone = run(&mut tuner, &mut now, steps, [100, 150]);
        assert!((TRIES as u32..=steps / 2500 * TRIES as u32 + TRIES as u32).contains(&alone), "{alone}");
        // The threads are moved apart: after at most one more stay it is the other way round.
        let alone = run(&mut tuner, &mut now, steps, [200, 150]);
        assert!(alone > steps * 9 / 10 && alone < steps, "{alone}");
        let alone = run(&mut tuner, &mut now, steps, [100, 150]);
        assert!(alone < steps / 10, "{alone}");
    }

    #[test]
    fn a_batch_that_is_smaller_does_not_mislead() {
        let (mut tuner, mut now) = (Tuner::new(2, 1_000_000), Instant::now());
        (0..TRIES).for_each(|_| assert!(!tuner.begin(50)));
        // Of those that are run alone, each has mostly half as many samples as the next.
        let mut alone = 0;
        while tuner.trial.as_ref().is_some_and(|t| t.rest == 0) {
            let samples = if alone > 0 { 5 << (alone % 5) } else { 50 };
            tuner.trying(samples, now);
            alone += usize::from(tuner.alone);
            now += Duration::from_micros(if tuner.alone { 3 } else { 2 } * samples as u64);
        }
        assert!(alone >= TRIES && !tuner.alone);
    }

    #[test]
    fn small_and_large_steps_and_one_thread_are_not_tried() {
        for (threads, flops) in [(2, 1000), (2, 1 << 40), (1, 1_000_000)] {
            let mut tuner = Tuner::new(threads, flops);
            assert!((0..1000).all(|_| !tuner.begin(50)) && tuner.trial.is_none());
        }
    }
}
