//! dfdx: the disk's network and the wide one. Convolutions need its `nightly` feature, which no longer builds.

use dfdx::losses::{cross_entropy_with_logits_loss, mse_loss};
use dfdx::nn::modules::{Linear, Module, ReLU, Tanh};
use dfdx::optim::{Sgd, SgdConfig};
use dfdx::prelude::{BuildModule, Optimizer, ZeroGrads};
use dfdx::shapes::Const;
use dfdx::tensor::{AsArray, Cpu, Gradients, Tensor, TensorFromVec, Trace};
use dfdx::tensor_ops::Backward;
use peer::{Peer, Samples, Task};

type Layer<const I: usize, const O: usize> = Linear<I, O, f32, Cpu>;
type Disk = ((Layer<2, 25>, ReLU), (Layer<25, 25>, ReLU), (Layer<25, 25>, Tanh), Layer<25, 2>);
type Wide = ((Layer<784, 1024>, ReLU), (Layer<1024, 1024>, ReLU), Layer<1024, 10>);
type Rows<const N: usize> = Tensor<(usize, Const<N>), f32, Cpu>;

fn rows<const N: usize>(x: Vec<f32>) -> Rows<N> {
    let n = x.len() / N;
    Cpu::default().tensor_from_vec(x, (n, Const))
}

/// The peer of a network: dfdx has its sizes in its type.
macro_rules! peer {
    ($name:ident, $net:ty, $inputs:literal, $outputs:literal, $loss:path, $parameters:expr) => {
        struct $name {
            net: $net,
            optimizer: Sgd<$net, f32, Cpu>,
            gradients: Option<Gradients<f32, Cpu>>,
            batches: Vec<(Rows<$inputs>, Rows<$outputs>)>,
            predict: Option<Rows<$inputs>>,
        }

        impl $name {
            fn new(task: Task) -> Self {
                let net = <$net>::build(&Cpu::default());
                let settings = SgdConfig { lr: task.shape.learning_rate, momentum: None, weight_decay: None };
                let batch = |s: &Samples| (rows(s.x.clone()), rows(s.one_hot($outputs)));
                $name {
                    optimizer: Sgd::new(&net, settings),
                    gradients: Some(net.alloc_grads()),
                    batches: task.train.iter().map(batch).collect(),
                    predict: task.predict.map(|s| rows(s.x)),
                    net,
                }
            }
        }

        impl Peer for $name {
            fn step(&mut self, batch: usize) -> f32 {
                let (x, y) = &self.batches[batch];
                let tape = self.gradients.take().expect("a step gives the gradients back");
                let loss = $loss(self.net.forward(x.trace(tape)), y.clone());
                let value = loss.array();
                let mut gradients = loss.backward();
                self.optimizer.update(&mut self.net, &gradients).expect("every parameter has a gradient");
                self.net.zero_grads(&mut gradients);
                self.gradients = Some(gradients);
                value
            }

            fn right(&self, _: usize, _: usize) -> usize {
                unreachable!("no round without convolutions")
            }

            fn predict(&self) -> f32 {
                let x = self.predict.as_ref().expect("there is something to predict");
                self.net.forward(x.clone())[[0, 0]]
            }

            fn parameters(&self) -> usize {
                $parameters
            }
        }
    };
}

peer!(DiskPeer, Disk, 2, 2, mse_loss, 75 + 2 * 650 + 52);
peer!(WidePeer, Wide, 784, 10, cross_entropy_with_logits_loss, 785 * 1024 + 1025 * 1024 + 10250);

fn main() {
    dfdx::flush_denormals_to_zero();
    peer::run(|task| match (task.shape.towers, task.shape.disk) {
        ([], true) => Some(Box::new(DiskPeer::new(task))),
        ([], false) => Some(Box::new(WidePeer::new(task))),
        _ => None,
    });
}
