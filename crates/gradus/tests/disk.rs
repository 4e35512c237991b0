//! The reports' four steps on the disk.

use gradus::prelude::*;

fn net(options: Options) -> Net {
    Sequential::new([2])
        .add(Linear::new(25))
        .add(ReLU)
        .add(Linear::new(25))
        .add(Tanh)
        .add(Linear::new(25))
        .add(ReLU)
        .add(Linear::new(2))
        .loss(MSELoss::new())
        .options(options)
        .build(Seed(1))
        .unwrap()
}

#[test]
fn four_steps_learn_the_disk_and_both_executors_agree() {
    let disk = data::disk(1000, Seed(7));
    let (mut fast, mut exact) = (net(Options::default()), net(Options { f64: true, ..Options::default() }));
    let (mut first, mut last) = (0.0, 0.0);
    for epoch in 0..20 {
        last = 0.0;
        for batch in disk.train.batches(20) {
            let losses = [&mut fast, &mut exact].map(|net| {
                net.forward(&batch);
                let loss = net.loss(&batch);
                net.backward();
                net.learn(0.3);
                loss
            });
            last += losses[0];
            if epoch == 0 {
                first += losses[0];
                // Training amplifies rounding: the two are compared while they are young.
                assert!((losses[0] - losses[1]).abs() <= 1e-4 * losses[1], "{losses:?}");
            }
        }
    }
    assert!(last < 0.7 * first, "{first} -> {last}");
}

/// `backward_from` on both executors: for a network with a loss (whose first layer needs nothing of its input for the
/// backward pass), and for a single layer.
#[test]
fn a_given_gradient_reaches_the_input() {
    let disk = data::disk(40, Seed(7));
    let batch = disk.train.range(0..9);
    let chain = |options: Options, loss: bool| {
        let mut chain =
            Sequential::new([2]).add(Tanh).add(Linear::new(7)).add(ReLU).add(Linear::new(3)).options(options);
        if loss {
            chain = chain.loss(MSELoss::new());
        }
        chain.build(Seed(2)).unwrap()
    };
    let dy = ndarray::ArrayD::from_shape_fn(vec![9, 3], |i| (i[0] as f64 - 4.0) * 0.25 + i[1] as f64);
    let run = |f64: bool, loss: bool| {
        let mut net = chain(Options { f64, ..Options::default() }, loss);
        let y = net.forward(&batch).to_array();
        let dx = net.backward_from(&dy);
        (y, dx, net.params().into_iter().map(|p| p.grad).collect::<Vec<_>>())
    };
    let (want, bare) = (run(true, true), run(true, false));
    assert_eq!(want, bare, "a loss that is not asked for changes nothing");
    for loss in [true, false] {
        let fast = run(false, loss);
        let near = |a: &ndarray::ArrayD<f64>, b: &ndarray::ArrayD<f64>| {
            a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + b.abs()))
        };
        assert!(near(&fast.1, &want.1), "dx");
        assert!(fast.2.iter().zip(&want.2).all(|(a, b)| near(a, b)), "parameters");
    }
    let mut single = Sequential::new([2]).add(Linear::new(1)).build(Seed(3)).unwrap();
    single.forward(&batch);
    let dx = single.backward_from(&ndarray::ArrayD::ones(vec![9, 1]));
    let weight = &single.params()[0].value;
    assert!((0..9).all(|s| dx[[s, 0]] == weight[[0, 0]] && dx[[s, 1]] == weight[[0, 1]]));
}
