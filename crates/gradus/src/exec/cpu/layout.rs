//! How a value lies in the CPU's memory.
//!
//! Everything is rows of `n` numbers, `ld` apart. A sample vector (F) is one row. A sample image (C, H, W) is H·W rows of C
//! (channels innermost). A weight (O, I) is I rows of O, a kernel (O, I, kH, kW) is kH·kW·I rows of O: outputs lie along the
//! lanes. Few outputs would leave most lanes empty: their weight is O rows of I. Rows are padded to whole registers, pixels of five to
//! eight channels to half of one, those of fewer and sample vectors of a few numbers not at all; long rows never lie a large power of
//! two apart.
//! Images may lie interleaved instead (`interleave.rs`): sixteen samples together, H·W rows of C vectors of sixteen.
//! Any other shape is one row in torch's order. Positions within an image lie as its numbers do; labels without padding.

use gradus_kernels::layout::SAMPLES;

use crate::program::Info;

/// Numbers in the widest vector register.
pub const LANES: usize = 16;

/// Pixels of so few channels lie without padding: functions of them would leave most lanes empty.
const FEW: usize = 4;

/// Half a register.
pub(super) const HALF: usize = LANES / 2;

/// A weight of more outputs has them along the lanes.
const FEW_OUTPUTS: usize = LANES;

/// Whether inputs fill the lanes better than outputs do. With few of both, no product waits for its lanes, and the gradient of the bias
/// comes with that of a weight that has the outputs there.
fn inputs_along_lanes(outputs: usize, inputs: usize) -> bool {
    // A product has halves of registers for a few columns.
    let filled = |n: usize| if n <= HALF { HALF } else { n.next_multiple_of(LANES) };
    let narrow = outputs <= HALF && inputs <= HALF;
    outputs <= FEW_OUTPUTS && !narrow && filled(outputs).saturating_mul(inputs) > filled(inputs).saturating_mul(outputs)
}

/// `n` padded to whole registers, and to one more where rows would lie so that they share few lines of a cache.
pub fn lanes(n: usize) -> usize {
    let whole = n.next_multiple_of(LANES);
    if whole >= 256 && whole.is_multiple_of(128) { whole + LANES } else { whole }
}

/// The distance between pixels of `channels`.
fn pixel(channels: usize) -> usize {
    if channels > HALF {
        lanes(channels)
    } else if channels > FEW {
        HALF
    } else {
        channels
    }
}

/// Where the numbers of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rows of a sample, or of the whole value where it is not batched.
    pub group: usize,
    /// Numbers in a row.
    pub n: usize,
    /// Distance between two rows.
    pub ld: usize,
    /// Torch's second dimension within the group: element (j, i, k) of (n, inner, outer) is at row k·inner + i, column j. Unless
    /// rows lie in torch's order.
    inner: usize,
    /// A weight (O, I) as O rows of I: torch's order is row after row.
    pub turned: bool,
    /// How many samples lie interleaved: each number of the rows is a vector with one of each sample. 1 where they do not.
    pub together: usize,
}

/// The layout of a value.
pub fn layout(info: &Info) -> Layout {
    let d = &info.dims;
    if info.interleaved {
        let (n, group) = (d[0], d[1] * d[2]);
        return Layout { group, n, ld: n * SAMPLES, inner: 1, turned: false, together: SAMPLES };
    }
    if let (false, false, &[outputs, inputs]) = (info.ints, info.batched, &d[..])
        && inputs_along_lanes(outputs, inputs)
    {
        return Layout { group: outputs, n: inputs, ld: lanes(inputs), inner: outputs, turned: true, together: 1 };
    }
    let (n, inner, outer, ld) = match (info.ints, info.batched, d.len()) {
        (_, true, 3) => (d[0], 1, d[1] * d[2], pixel(d[0])),
        (true, ..) => (d.iter().product(), 1, 1, d.iter().product()),
        // So that functions of every number fill the lanes.
        (_, true, 1) if d[0] <= HALF => (d[0], 1, 1, d[0]),
        (_, false, 2) => (d[0], d[1], 1, lanes(d[0])),
        (_, false, 4) => (d[0], d[1], d[2] * d[3], lanes(d[0])),
        _ => (d.iter().product(), 1, 1, lanes(d.iter().product())),
    };
    Layout { group: inner * outer, n, ld, inner, turned: false, together: 1 }
}

impl Layout {
    /// Numbers of a sample with padding, where samples lie one after another.
    pub fn sample(&self) -> usize {
        debug_assert_eq!(self.together, 1, "interleaved samples lie in no place of their own");
        self.group * self.ld
    }

    /// Numbers with padding from one sample to the next; where they lie interleaved, a sixteenth of those of sixteen.
    pub fn step(&self) -> usize {
        self.group * self.ld / self.together
    }

    /// Numbers of `samples` with padding.
    pub fn size(&self, samples: usize) -> usize {
        self.rows(samples) * self.ld
    }

    /// Rows of `samples`, `ld` apart, of `n` numbers for each of those that lie together.
    pub fn rows(&self, samples: usize) -> usize {
        self.blocks(samples) * self.group
    }

    /// How many times the rows of a group lie in memory, for so many samples.
    pub fn blocks(&self, samples: usize) -> usize {
        samples.div_ceil(self.together)
    }

    /// How many columns a product should compute. Whole registers are quicker to store than parts, and what comes to lie in the
    /// padding is never looked at; but a few columns fit into half a register.
    pub fn columns(&self) -> usize {
        if self.n <= HALF { self.n } else { self.n.next_multiple_of(LANES).min(self.ld) }
    }

    /// Numbers of `batch` samples without padding.
    pub fn count(&self, batch: usize) -> usize {
        batch * self.group * self.n
    }

    /// The addresses of all numbers of `batch` samples that are not padding.
    pub fn numbers(&self, batch: usize) -> impl Iterator<Item = usize> + use<> {
        let Layout { group, n, ld, together, .. } = *self;
        let rows = (0..batch.div_ceil(together)).flat_map(move |block| (0..group).map(move |row| (block, row)));
        rows.flat_map(move |(block, row)| {
            let there = together.min(batch - block * together);
            let row = (block * group + row) * ld;
            (0..n).flat_map(move |j| row + j * together..row + j * together + there)
        })
    }

    /// Whether its rows are in torch's order: those of a weight that lies as there, or the single row of a vector.
    fn is_in_order(&self) -> bool {
        self.turned || self.group == 1
    }

    /// Whether a batch lies as in torch: vectors, or images of one channel, without padding.
    pub fn is_torch(&self) -> bool {
        self.together == 1 && self.ld == self.n && (self.is_in_order() || (self.n, self.inner) == (1, 1))
    }

    /// Copies one sample in from torch's order.
    pub fn pack<T: Copy>(&self, torch: &[T], out: &mut [f32], convert: impl Fn(T) -> f32) {
        let rows = out.chunks_mut(self.ld.max(1)).take(self.group);
        if self.is_in_order() {
            for (row, torch) in rows.zip(torch.chunks_exact(self.n.max(1))) {
                row.iter_mut().zip(torch).for_each(|(out, x)| *out = convert(*x));
            }
            return;
        }
        let outer = self.group / self.inner;
        for (row, line) in rows.enumerate() {
            let (k, i) = (row / self.inner, row % self.inner);
            for (j, o) in line[..self.n].iter_mut().enumerate() {
                *o = convert(torch[(j * self.inner + i) * outer + k]);
            }
        }
    }

    /// Copies one sample out to torch's order.
    pub fn unpack<T>(&self, stored: &[f32], torch: &mut [T], convert: impl Fn(f32) -> T) {
        let rows = stored.chunks(self.ld.max(1)).take(self.group);
        if self.is_in_order() {
            for (row, out) in rows.zip(torch.chunks_exact_mut(self.n.max(1))) {
                out.iter_mut().zip(row).for_each(|(out, x)| *out = convert(*x));
            }
            return;
        }
        let outer = self.group / self.inner;
        for (row, line) in rows.enumerate() {
            let (k, i) = (row / self.inner, row % self.inner);
            for (j, x) in line[..self.n].iter().enumerate() {
                torch[(j * self.inner + i) * outer + k] = convert(*x);
            }
        }
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.together > 1 {
            write!(f, "{}×{}×{}", self.group, self.n, self.together)
        } else if self.n == self.ld {
            write!(f, "{}×{}", self.group, self.n)
        } else {
            write!(f, "{}×{} in {}", self.group, self.n, self.ld)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Source;

    #[test]
    fn packing_and_unpacking_give_back_what_went_in() {
        for (dims, batched) in [
            (vec![3], true),
            (vec![2, 3, 5], true),
            (vec![17, 2, 2], true),
            (vec![4, 3], false),
            (vec![4, 17], false),
            (vec![1, 300], false),
            (vec![5, 3, 2, 4], false),
            (vec![2, 3], true),
            (vec![], true),
        ] {
            let info = Info {
                name: String::new(),
                dims: dims.clone(),
                batched,
                ints: false,
                source: Source::Op,
                interleaved: false,
            };
            let l = layout(&info);
            let torch: Vec<f32> = (0..dims.iter().product::<usize>()).map(|i| i as f32).collect();
            let mut packed = vec![-1.0; l.sample()];
            l.pack(&torch, &mut packed, |x| x);
            let mut back = vec![0.0; torch.len()];
            l.unpack(&packed, &mut back, |x| x);
            assert_eq!(back, torch, "{dims:?}");
            assert_eq!(l.numbers(1).filter(|at| packed[*at] >= 0.0).count(), torch.len());
        }
    }

    #[test]
    fn outputs_lie_along_the_lanes() {
        let info = Info {
            name: String::new(),
            dims: vec![2, 3, 1, 2],
            batched: false,
            ints: false,
            source: Source::Op,
            interleaved: false,
        };
        let l = layout(&info);
        let torch: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let mut packed = vec![0.0; l.sample()];
        l.pack(&torch, &mut packed, |x| x);
        // Row (kernel position 1, input 2) holds outputs 0 and 1 of torch's (o, 2, 0, 1).
        assert_eq!(packed[(3 + 2) * 16..][..2], [5.0, 11.0]);
    }
}
