//! Ctrl-C: the first one asks to stop, the second one stops.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

use crate::failure::Outcome;

/// How long the epoch that runs when Ctrl-C comes may go on.
const PATIENCE: Duration = Duration::from_secs(2);

/// The exit code of an interrupted program.
const INTERRUPTED: i32 = 130;

/// Whether the user has asked to stop.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on Ctrl-C (or a polite kill) only asks. When nothing has come of it after two seconds, `give_up` is called
    /// on a thread of its own, and the program ends. A second Ctrl-C ends it at once.
    pub fn listen(give_up: impl FnOnce() + Send + 'static) -> Outcome<Interrupt> {
        let asked = Arc::new(AtomicBool::new(false));
        let listen = || -> io::Result<()> {
            for signal in [SIGINT, SIGTERM] {
                // In this order: the first signal finds the flag unset, and sets it.
                register_conditional_shutdown(signal, INTERRUPTED, asked.clone())?;
                register(signal, asked.clone())?;
            }
            Ok(())
        };
        listen()?;
        let interrupt = Interrupt(asked);
        let watched = interrupt.clone();
        std::thread::spawn(move || {
            while !watched.asked() {
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(PATIENCE);
            give_up();
            std::process::exit(INTERRUPTED);
        });
        Ok(interrupt)
    }

    /// The flag itself, for a library that looks at it.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// Whether the user has asked to stop.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
