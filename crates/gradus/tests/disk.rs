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
