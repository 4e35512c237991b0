//! The examples run and check themselves.

#[path = "../examples/disk.rs"]
mod disk;
#[path = "../examples/model_program.rs"]
mod model_program;
#[path = "../examples/own_activation.rs"]
mod own_activation;
#[path = "../examples/own_layer.rs"]
mod own_layer;
#[path = "../examples/own_loss.rs"]
mod own_loss;

#[test]
fn all_examples_run() {
    model_program::main().unwrap();
    disk::main().unwrap();
    own_activation::main().unwrap();
    own_layer::main().unwrap();
    own_loss::main().unwrap();
}
