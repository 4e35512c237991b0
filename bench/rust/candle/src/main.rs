//! candle.
//!
//! Its gradient of a 2×2 maximum is a quarter of the right one (0.11.1), so with pooling it does not train the same network.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear, Module, Optimizer, SGD, VarBuilder, VarMap, conv2d, linear, loss};
use peer::{Peer, Samples, Shape, Task, count_right};

struct Net {
    shape: &'static Shape,
    towers: Vec<Vec<Conv2d>>,
    head: Vec<Linear>,
}

impl Net {
    fn new(shape: &'static Shape, vars: &VarBuilder) -> Result<Net> {
        let conv = |tower: usize, i: usize| {
            let c = &shape.towers[i];
            let config = Conv2dConfig { padding: c.padding, ..Default::default() };
            conv2d(c.inputs, c.outputs, c.kernel, config, vars.pp(format!("tower{tower}.{i}")))
        };
        let layer = |i: usize| linear(shape.head[i], shape.head[i + 1], vars.pp(format!("head.{i}")));
        let tower = |t: usize| (0..shape.towers.len()).map(|i| conv(t, i)).collect();
        let towers = if shape.shared { 1 } else { 2 };
        Ok(Net {
            shape,
            towers: (0..towers).map(tower).collect::<Result<_>>()?,
            head: (0..shape.head.len() - 1).map(layer).collect::<Result<_>>()?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = match self.shape.towers {
            [] => x.clone(),
            _ => {
                let image = |i: usize| self.tower(&self.towers[i % self.towers.len()], x.narrow(1, i, 1)?);
                Tensor::cat(&[image(0)?, image(1)?], 1)?
            }
        };
        for (i, layer) in self.head.iter().enumerate() {
            x = layer.forward(&x)?;
            x = match self.head.len() - 1 - i {
                0 => x,
                1 if self.shape.disk => x.tanh()?,
                _ => x.relu()?,
            };
        }
        Ok(x)
    }

    fn tower(&self, convs: &[Conv2d], mut x: Tensor) -> Result<Tensor> {
        for (conv, is) in convs.iter().zip(self.shape.towers) {
            x = conv.forward(&x)?.relu()?;
            if is.pool {
                x = x.max_pool2d(2)?;
            }
        }
        x.flatten_from(1)
    }
}

struct Candle {
    net: Net,
    parameters: usize,
    optimizer: SGD,
    batches: Vec<(Tensor, Tensor)>,
    judged: [Vec<(Tensor, Vec<u8>)>; 2],
    /// The network without gradients, and what it predicts.
    predict: Option<(Net, Tensor)>,
}

impl Candle {
    fn new(Task { shape, train, judged, predict }: Task) -> Result<Candle> {
        let vars = VarMap::new();
        let net = Net::new(shape, &VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
        let classes = shape.head[shape.head.len() - 1];
        let target = |s: &Samples| match shape.disk {
            true => Tensor::from_vec(s.one_hot(classes), (s.y.len(), classes), &Device::Cpu),
            false => Tensor::new(s.y.iter().map(|y| u32::from(*y)).collect::<Vec<_>>(), &Device::Cpu),
        };
        let predict = match predict {
            None => None,
            Some(samples) => {
                let named = vars.data().lock().expect("no thread has failed");
                let plain = named.iter().map(|(name, v)| (name.clone(), v.as_tensor().detach())).collect();
                let plain = VarBuilder::from_tensors(plain, DType::F32, &Device::Cpu);
                Some((Net::new(shape, &plain)?, input(shape, &samples)?))
            }
        };
        let [a, b] = judged.map(|all| all.into_iter().map(|s| Ok((input(shape, &s)?, s.y))).collect::<Result<_>>());
        Ok(Candle {
            net,
            parameters: vars.all_vars().iter().map(|v| v.elem_count()).sum(),
            optimizer: SGD::new(vars.all_vars(), shape.learning_rate)?,
            batches: train.iter().map(|s| Ok((input(shape, s)?, target(s)?))).collect::<Result<_>>()?,
            judged: [a?, b?],
            predict,
        })
    }

    fn train(&mut self, batch: usize) -> Result<f32> {
        let (x, y) = &self.batches[batch];
        let out = self.net.forward(x)?;
        let loss = if self.net.shape.disk { loss::mse(&out, y)? } else { loss::cross_entropy(&out, y)? };
        self.optimizer.backward_step(&loss)?;
        loss.to_scalar()
    }
}

fn input(shape: &Shape, samples: &Samples) -> Result<Tensor> {
    let dims: Vec<usize> = std::iter::once(samples.y.len()).chain(shape.input.iter().copied()).collect();
    Tensor::from_vec(samples.x.clone(), dims, &Device::Cpu)
}

impl Peer for Candle {
    fn step(&mut self, batch: usize) -> f32 {
        self.train(batch).expect("a step")
    }

    fn right(&self, set: usize, batch: usize) -> usize {
        let (x, y) = &self.judged[set][batch];
        let out = self.net.forward(x).and_then(|out| out.flatten_all()?.to_vec1::<f32>()).expect("a prediction");
        count_right(&out, y)
    }

    fn predict(&self) -> f32 {
        let (net, x) = self.predict.as_ref().expect("there is something to predict");
        net.forward(x).and_then(|out| out.get(0)?.get(0)?.to_scalar()).expect("a prediction")
    }

    fn parameters(&self) -> usize {
        self.parameters
    }
}

fn main() {
    peer::run(|task| Some(Box::new(Candle::new(task).expect("a network"))));
}
