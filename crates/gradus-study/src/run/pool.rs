//! Tasks on several threads, their results taken one after the other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::Builder;

use gradus::error::{Error, Kind, Result};

/// Does `tasks` on `threads` threads, begun in their order, and gives every result to `take` on this thread. A task that gives
/// `None` was stopped. After the first error, or when `stop` is raised, none is begun any more.
///
/// # Errors
/// The first of a task or of `take`, or [`Kind::Argument`] when the system gives no such number of threads.
pub fn each<T: Sync, R: Send>(
    threads: usize,
    tasks: &[T],
    stop: &AtomicBool,
    work: impl Fn(&T, &AtomicBool) -> Result<Option<R>> + Sync,
    mut take: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let (next, broken) = (AtomicUsize::new(0), AtomicBool::new(false));
    // Bounded: results may be large, and the disk slow.
    let (send, receive) = mpsc::sync_channel::<Result<R>>(threads);
    std::thread::scope(|scope| {
        let mut first = Ok(());
        for _ in 0..threads.min(tasks.len()) {
            let (send, next, broken, work) = (send.clone(), &next, &broken, &work);
            let started = Builder::new().spawn_scoped(scope, move || {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.load(Ordering::Relaxed) || broken.load(Ordering::Relaxed) {
                        return;
                    }
                    let result = work(task, stop).transpose();
                    broken.fetch_or(matches!(result, Some(Err(_))), Ordering::Relaxed);
                    // Nobody listens any more after an error.
                    let Some(Ok(())) = result.map(|r| send.send(r)) else { return };
                }
            });
            if let Err(e) = started {
                first = Err(Error::new(Kind::Argument, format!("{threads} threads: the system refused one: {e}")));
                broken.store(true, Ordering::Relaxed);
                break;
            }
        }
        drop(send);
        // What was running when one failed is still taken.
        let mut takes = true;
        for result in receive {
            let taken = match result {
                Ok(result) if takes => take(result).inspect_err(|_| takes = false),
                Ok(_) => Ok(()),
                Err(e) => Err(e),
            };
            broken.fetch_or(taken.is_err(), Ordering::Relaxed);
            first = first.and(taken);
        }
        first
    })
}
