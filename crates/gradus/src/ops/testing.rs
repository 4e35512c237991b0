//! What the tests of ops share: a few layers on both executors.

use ndarray::ArrayD;

use crate::data::{Dataset, Target};
use crate::layers::testing::near;
use crate::net::{Architecture, Branch, Graph, Net, Options};
use crate::program::{Roots, compile};
use crate::registry::Registry;
use crate::rng::{Seed, Stream};

fn graph(layers: &[&str], input: &[usize]) -> Graph {
    let registry = Registry::new();
    let layers = layers.iter().map(|l| registry.parse_layer(l).unwrap()).collect();
    let branch = Branch { from: vec!["x".parse().unwrap()], layers, ..Branch::default() };
    let mut architecture = Architecture::default();
    architecture.branches.insert("net".to_string(), branch);
    let schema = data(1, input, &mut Seed(0).key("data").stream()).schema();
    Graph::resolve(&architecture, &schema, &registry).unwrap()
}

fn random(shape: &[usize], stream: &mut Stream) -> ArrayD<f32> {
    ArrayD::from_shape_simple_fn(shape, || 2.0 * stream.uniform_f32() - 1.0)
}

fn data(batch: usize, input: &[usize], stream: &mut Stream) -> Dataset {
    let x = random(&[&[batch], input].concat(), stream);
    Dataset::from_arrays(x, Target::Values(ArrayD::zeros(vec![batch, 1]))).unwrap()
}

/// Asserts that both executors agree on the outputs and all gradients of `layers`: a batch, then a smaller one whose
/// gradients are added. With several threads the numbers must be the same to the bit.
#[track_caller]
pub(crate) fn agree(layers: &[&str], input: &[usize]) {
    let nets = [(false, 1), (false, 3), (true, 1)].map(|(f64, threads)| {
        let options = Options { f64, threads };
        Net::new(graph(layers, input), Seed(3), options).unwrap()
    });
    let [fast, shared, exact] = nets.map(|mut net| {
        let mut stream = Seed(5).key("test").stream();
        let mut numbers: Vec<f64> = Vec::new();
        for batch in [5, 3] {
            let data = data(batch, input, &mut stream);
            let y = net.forward(&data.all()).to_array();
            numbers.extend(y.iter().map(|y| f64::from(*y)));
            let dy = random(y.shape(), &mut stream).mapv(f64::from);
            numbers.extend(net.backward_from(&dy));
        }
        net.params().iter().for_each(|p| numbers.extend(&p.grad));
        numbers
    });
    near(&fast, &exact);
    assert!(fast.iter().zip(&shared).all(|(a, b)| a.to_bits() == b.to_bits()), "three threads: {layers:?}, {input:?}");
}

/// The training program of `layers` as text.
pub(crate) fn explain(layers: &[&str], input: &[usize]) -> String {
    compile(&graph(layers, input), &Roots::BackwardFrom { buffers: true }).explain()
}
