//! burn on its CPU backend "flex".

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::{CrossEntropyLoss, MseLoss, Reduction};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::activation::{relu, tanh};
use peer::{Peer, Samples, Shape, Task, count_right};

#[derive(Module, Debug)]
struct Net {
    towers: Vec<Vec<Conv2d>>,
    pool: MaxPool2d,
    head: Vec<Linear>,
}

impl Net {
    fn new(shape: &Shape, device: &Device) -> Net {
        let conv = |c: &peer::Conv| {
            let padding = PaddingConfig2d::Explicit(c.padding, c.padding, c.padding, c.padding);
            Conv2dConfig::new([c.inputs, c.outputs], [c.kernel; 2]).with_padding(padding).init(device)
        };
        let towers = if shape.shared { 1 } else { 2 };
        Net {
            towers: (0..towers).map(|_| shape.towers.iter().map(conv).collect()).collect(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            head: shape.head.windows(2).map(|w| LinearConfig::new(w[0], w[1]).init(device)).collect(),
        }
    }

    fn forward(&self, shape: &Shape, x: &Input) -> Tensor<2> {
        let mut x = match x {
            Input::Rows(x) => x.clone(),
            Input::Pairs(x) => {
                let image =
                    |i: usize| self.tower(shape, &self.towers[i % self.towers.len()], x.clone().narrow(1, i, 1));
                Tensor::cat(vec![image(0), image(1)], 1)
            }
        };
        for (i, layer) in self.head.iter().enumerate() {
            x = layer.forward(x);
            x = match self.head.len() - 1 - i {
                0 => x,
                1 if shape.disk => tanh(x),
                _ => relu(x),
            };
        }
        x
    }

    fn tower(&self, shape: &Shape, convs: &[Conv2d], mut x: Tensor<4>) -> Tensor<2> {
        for (conv, is) in convs.iter().zip(shape.towers) {
            x = relu(conv.forward(x));
            if is.pool {
                x = self.pool.forward(x);
            }
        }
        x.flatten(1, 3)
    }
}

enum Input {
    Rows(Tensor<2>),
    Pairs(Tensor<4>),
}

impl Input {
    fn new(shape: &Shape, samples: &Samples, device: &Device) -> Input {
        let (x, n) = (samples.x.clone(), samples.y.len());
        match shape.input {
            [width] => Input::Rows(Tensor::from_data(TensorData::new(x, [n, *width]), device)),
            _ => Input::Pairs(Tensor::from_data(TensorData::new(x, [n, 2, 14, 14]), device)),
        }
    }
}

enum Target {
    Numbers(Tensor<2>),
    Classes(Tensor<1, Int>),
}

struct Burn {
    shape: &'static Shape,
    /// None only while a step consumes it.
    net: Option<Net>,
    optimizer: ModuleOptimizer,
    cross_entropy: CrossEntropyLoss,
    batches: Vec<(Input, Target)>,
    /// Of the training and of the test samples, without gradients.
    judged: [Vec<(Input, Vec<u8>)>; 2],
    predict: Option<Input>,
}

impl Peer for Burn {
    fn step(&mut self, batch: usize) -> f32 {
        let (x, y) = &self.batches[batch];
        let net = self.net.take().expect("a step gives the network back");
        let out = net.forward(self.shape, x);
        let loss = match y {
            Target::Numbers(y) => MseLoss::new().forward(out, y.clone(), Reduction::Mean),
            Target::Classes(y) => self.cross_entropy.forward(out, y.clone()),
        };
        let value = loss.clone().into_scalar::<f32>();
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        self.net = Some(self.optimizer.step(self.shape.learning_rate, net, gradients));
        value
    }

    fn right(&self, set: usize, batch: usize) -> usize {
        let (x, y) = &self.judged[set][batch];
        let net = self.net.as_ref().expect("a step gives the network back").valid();
        let out = net.forward(self.shape, x).into_data().try_to_vec::<f32>().expect("f32");
        count_right(&out, y)
    }

    fn predict(&self) -> f32 {
        let net = self.net.as_ref().expect("a step gives the network back");
        let x = self.predict.as_ref().expect("there is something to predict");
        net.forward(self.shape, x).slice([0..1, 0..1]).into_scalar::<f32>()
    }

    fn parameters(&self) -> usize {
        self.net.as_ref().expect("a step gives the network back").num_params()
    }
}

fn main() {
    peer::run(|Task { shape, train, judged, predict }| {
        let plain = Device::flex();
        let device = plain.clone().autodiff();
        device.seed(1);
        let classes = shape.head[shape.head.len() - 1];
        let target = |s: &Samples| match shape.disk {
            true => {
                Target::Numbers(Tensor::from_data(TensorData::new(s.one_hot(classes), [s.y.len(), classes]), &device))
            }
            false => {
                let y: Vec<i64> = s.y.iter().map(|y| i64::from(*y)).collect();
                Target::Classes(Tensor::from_data(TensorData::new(y, [s.y.len()]), &device))
            }
        };
        let net = Net::new(shape, &device);
        Some(Box::new(Burn {
            shape,
            optimizer: SgdConfig::new().init(),
            cross_entropy: CrossEntropyLoss::new(None, &device),
            batches: train.iter().map(|s| (Input::new(shape, s, &device), target(s))).collect(),
            judged: judged.map(|all| all.into_iter().map(|s| (Input::new(shape, &s, &plain), s.y)).collect()),
            net: Some(if predict.is_some() { net.valid() } else { net }),
            predict: predict.map(|s| Input::new(shape, &s, &plain)),
        }))
    });
}
