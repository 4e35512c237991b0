//! Training: settings, learning-rate schedules, and the loop that [`Net::fit`](crate::net::Net::fit) runs.

mod fit;
mod health;
mod schedule;
mod settings;

pub use fit::{Data, Epoch, Flow, History, Progress, Trainer};
pub use health::Warning;
pub use schedule::{ConstantLR, CosineAnnealingLR, LinearLR, SCHEDULES, Schedule, StepLR};
pub use settings::{Keep, Settings};
