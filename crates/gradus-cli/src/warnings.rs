//! Warnings of the libraries, on standard error: each once.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The progress line on the terminal now, which a warning must not be written into.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Says which progress line is on the terminal.
pub fn set_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Whether somebody else says what the libraries warn of.
static SILENT: AtomicBool = AtomicBool::new(false);

/// From now on the libraries' warnings are not printed: whoever runs many trainings at once says what they warn of, and which
/// one it was.
pub fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

/// Prints a warning above the progress line.
pub fn warn(message: &str) {
    match &*BAR.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(bar) => bar.suspend(|| crate::print::warning(message)),
        None => crate::print::warning(message),
    }
}

/// From now on, what the libraries warn of is printed.
pub fn install() {
    let subscriber = tracing_subscriber::registry().with(Printer::default());
    // It fails where one is there already; then that one has the warnings.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

#[derive(Default)]
struct Printer {
    seen: Mutex<HashSet<String>>,
}

impl<S: Subscriber> Layer<S> for Printer {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Level::WARN && !SILENT.load(Ordering::Relaxed)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let new = self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(message.0.clone());
        if new {
            warn(&message.0);
        }
    }
}

/// The text of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
