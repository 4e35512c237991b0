//! Where every value lies: offsets from lifetimes, so that values which are not alive together share memory.

use super::layout::LANES;

/// A value that needs memory from op `from` to op `to`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Numbers.
    pub len: usize,
    /// The first op that writes it.
    pub from: usize,
    /// The last op that uses it.
    pub to: usize,
}

/// Offsets (multiples of a cache line) for all needs, and the size they take together: the largest first, each at the
/// lowest place where nothing alive at the same time lies.
pub fn assign(needs: &[Need]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(needs[*i].len), needs[*i].from, *i));
    let mut offsets = vec![0; needs.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut size = 0;
    for i in order {
        let need = needs[i];
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|p| needs[**p].from <= need.to && need.from <= needs[**p].to)
            .map(|p| (offsets[*p], offsets[*p] + needs[*p].len.next_multiple_of(LANES)))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (start, end) in taken {
            if at + need.len <= start {
                break;
            }
            at = at.max(end);
        }
        offsets[i] = at;
        size = size.max(at + need.len.next_multiple_of(LANES));
        placed.push(i);
    }
    (offsets, size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn values_alive_together_do_not_overlap() {
        let mut stream = Seed(3).key("needs").stream();
        for _ in 0..200 {
            let needs: Vec<Need> = (0..30)
                .map(|_| {
                    let from = stream.below(20) as usize;
                    Need { len: stream.below(100) as usize, from, to: from + stream.below(6) as usize }
                })
                .collect();
            let (at, size) = assign(&needs);
            for i in 0..needs.len() {
                assert!(at[i] % LANES == 0 && at[i] + needs[i].len <= size);
                for j in 0..i {
                    let together = needs[i].from <= needs[j].to && needs[j].from <= needs[i].to;
                    let apart = at[i] + needs[i].len <= at[j] || at[j] + needs[j].len <= at[i];
                    assert!(!together || apart || needs[i].len * needs[j].len == 0, "{:?} {:?}", needs[i], needs[j]);
                }
            }
        }
    }

    #[test]
    fn a_chain_needs_two_places() {
        let needs: Vec<Need> = (0..10).map(|i| Need { len: 64, from: i, to: i + 1 }).collect();
        assert_eq!(assign(&needs).1, 128);
    }
}
