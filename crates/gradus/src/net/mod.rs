//! Networks: as written ([`Architecture`]), resolved ([`Graph`]), and running ([`Net`]).

mod architecture;
mod graph;
mod net;
mod output;
mod sequential;

pub use architecture::{Architecture, Branch, Join, Loss, Tap, check_name, covers};
pub use graph::{BranchNode, BufferInfo, Feed, Graph, LayerNode, LossNode, ParamInfo};

pub use net::{Net, Options, Param};
pub use output::Output;
pub use sequential::Sequential;
