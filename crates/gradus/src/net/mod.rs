//! Networks: as written ([`Architecture`]), resolved ([`Graph`]), and running ([`Net`]).

mod architecture;
mod graph;
mod output;
mod preflight;
mod running;
mod sequential;

pub use architecture::{Architecture, Branch, Join, Loss, Tap, check_name, covers};
pub use graph::{BranchNode, BufferInfo, Feed, Graph, LayerNode, LossNode, ParamInfo};

pub use output::Output;
pub use running::{Net, Options, Param};
pub use sequential::Sequential;
