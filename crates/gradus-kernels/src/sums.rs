//! Sums of columns.

use crate::Cpu;
use crate::lanes::{Lanes, by_lanes, each_vector};
use crate::matmul::reach;
use crate::optim::Sgd;
use crate::pool::{Output, Read, Work, Write};

/// What becomes of column sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Total {
    /// They are written.
    New,
    /// They go on from what the output holds.
    Added,
    /// They are the gradient by which the parameters in the output move.
    Sgd(Sgd),
}

/// out(j) = Σ x(i, j) over the `rows` rows, or what `total` says.
///
/// Order: one chain of additions per column, rows ascending, from 0 or from what is stored ([`Total::Added`]).
///
/// # Panics
/// When a slice is shorter than the shape says, or `ld` less than `n`.
pub fn sum_rows(cpu: &Cpu, rows: usize, n: usize, ld: usize, x: &[f32], out: &mut [f32], total: Total) {
    assert!(ld >= n && reach(rows, n, ld) <= x.len(), "sum_rows: x has {} numbers, too few for {rows}×{n}", x.len());
    assert!(out.len() >= n, "sum_rows: the output has {} numbers, not {n}", out.len());
    sum_columns(cpu, Sums { rows, group: None, ld, x: x.as_ptr(), total }, &mut out[..n]);
}

/// [`sum_rows`] with a partial sum for each `group` rows (an image), so that many rows lose no accuracy.
///
/// Order: the partial of a group is one chain of additions from 0, rows ascending; the partials are added in order of the
/// groups to 0 or to what is stored ([`Total::Added`]). The last group may be shorter.
///
/// # Panics
/// When a slice is shorter than the shape says, `ld` less than `n`, or `group` 0.
#[allow(clippy::too_many_arguments)]
pub fn sum_rows_grouped(
    cpu: &Cpu,
    rows: usize,
    group: usize,
    n: usize,
    ld: usize,
    x: &[f32],
    out: &mut [f32],
    total: Total,
) {
    assert!(group > 0, "sum_rows_grouped: groups of 0 rows");
    assert!(
        ld >= n && reach(rows, n, ld) <= x.len(),
        "sum_rows_grouped: x has {} numbers, too few for {rows}×{n}",
        x.len()
    );
    assert!(out.len() >= n, "sum_rows_grouped: the output has {} numbers, not {n}", out.len());
    sum_columns(cpu, Sums { rows, group: Some(group), ld, x: x.as_ptr(), total }, &mut out[..n]);
}

/// out(g, j) = Σ x(i, j) over the `group` rows of each of so many groups; in `out` groups lie `ld` apart, as rows do.
///
/// Order: as [`sum_rows`] of each.
///
/// # Panics
/// When a slice is shorter than the shape says, or `ld` less than `n`.
pub fn sum_groups(cpu: &Cpu, groups: usize, group: usize, n: usize, ld: usize, x: &[f32], out: &mut [f32]) {
    if groups == 0 || n == 0 {
        return;
    }
    let rows = groups.saturating_mul(group);
    assert!(ld >= n && reach(rows, n, ld) <= x.len(), "sum_groups: x has {} numbers, too few for {rows}×{n}", x.len());
    let needs = reach(groups, n, ld);
    assert!(out.len() >= needs, "sum_groups: the output has {} numbers, not {needs}", out.len());
    let arrays = (Read(&x[..reach(rows, n, ld)], group * ld), Write::new(&mut out[..needs], ld));
    cpu.pool.split_rows(group, groups, 1, arrays, |part, (x, out)| {
        // SAFETY: the groups' rows, and one of `out` for each, as was checked.
        unsafe { partials(cpu.isa, part.len(), group, n, ld, x.as_ptr(), out.as_mut_ptr()) };
    });
}

by_lanes! {
    /// # Safety
    /// `groups` times `group` rows of `n` numbers, `ld` apart, can be read; as many as there are groups written.
    fn partials(groups: usize, group: usize, n: usize, ld: usize, x: *const f32, out: *mut f32) = partials_of_all
}

/// # Safety
/// As [`partials`].
#[inline(always)]
unsafe fn partials_of_all<V: Lanes>(groups: usize, group: usize, n: usize, ld: usize, x: *const f32, out: *mut f32) {
    // SAFETY: the caller's promises.
    unsafe {
        if n > 2 * V::N {
            for g in 0..groups {
                let (x, out) = (x.wrapping_add(g * group * ld), std::slice::from_raw_parts_mut(out.add(g * ld), n));
                sums_of_all::<V>(&Sums { rows: group, group: None, ld, x, total: Total::New }, out);
            }
            return;
        }
        // Some at a time: each addition of a chain waits for the last one.
        let mut first = 0;
        while first < groups {
            let (x, out) = (x.wrapping_add(first * group * ld), out.wrapping_add(first * ld));
            match groups - first {
                1 => partials_of::<V, 1>(group, n, ld, x, out),
                2 => partials_of::<V, 2>(group, n, ld, x, out),
                3 => partials_of::<V, 3>(group, n, ld, x, out),
                _ => partials_of::<V, 4>(group, n, ld, x, out),
            }
            first += 4;
        }
    }
}

/// The sums of `G` groups.
///
/// # Safety
/// As [`partials`].
#[inline(always)]
unsafe fn partials_of<V: Lanes, const G: usize>(group: usize, n: usize, ld: usize, x: *const f32, out: *mut f32) {
    // SAFETY: the caller's promises.
    unsafe {
        each_vector::<V>(
            n,
            #[inline(always)]
            |at| {
                let mut sums = [V::splat(0.0); G];
                for i in 0..group {
                    for (g, sum) in sums.iter_mut().enumerate() {
                        *sum = Lanes::add(*sum, at.load(x.wrapping_add((g * group + i) * ld)));
                    }
                }
                for (g, sum) in sums.into_iter().enumerate() {
                    at.store(out.wrapping_add(g * ld), sum);
                }
            },
        );
    }
}

/// Rows to be summed.
#[derive(Clone, Copy)]
struct Sums {
    rows: usize,
    /// Rows of a partial sum; None: there are none, the one chain starts from the output.
    group: Option<usize>,
    ld: usize,
    x: *const f32,
    total: Total,
}

// SAFETY: the pointer is to a slice that the caller of the sums holds shared for as long as they run.
unsafe impl Sync for Sums {}

impl Sums {
    fn after(&self, j: usize) -> Sums {
        Sums { x: self.x.wrapping_add(j), ..*self }
    }
}

/// The columns from `s.x` on, as many as `out` has. The callers have checked that all rows reach so far.
fn sum_columns(cpu: &Cpu, s: Sums, out: &mut [f32]) {
    let work = Work::Bytes(s.rows.saturating_mul(out.len()).saturating_mul(4));
    let out = Output::new(out);
    // Not fewer columns than a few cache lines of each row.
    cpu.pool.split(work, out.len(), 64, |columns| {
        // SAFETY: `split` gives disjoint ranges; each row has these columns, as the callers have checked.
        unsafe { sums(cpu.isa, &s.after(columns.start), out.slice(columns)) };
    });
}

by_lanes! {
    /// # Safety
    /// Each row has at least `out.len()` numbers.
    fn sums(s: &Sums, out: &mut [f32]) = sums_of_all
}

/// # Safety
/// As [`sums`], where the instruction set is there.
#[inline(always)]
unsafe fn sums_of_all<V: Lanes>(s: &Sums, out: &mut [f32]) {
    let (n, out) = (out.len(), out.as_mut_ptr());
    let mut j = 0;
    // SAFETY: columns below `n`.
    unsafe {
        while n - j >= 4 * V::N {
            sums_of::<V, 4, false>(s, out, j, V::N);
            j += 4 * V::N;
        }
        // What is left, at once: each addition of a chain waits for the last one.
        let (left, part) = ((n - j).div_ceil(V::N), (n - j) % V::N);
        match (left, part) {
            (0, _) => {}
            (1, 0) => sums_of::<V, 1, false>(s, out, j, V::N),
            (1, _) => sums_of::<V, 1, true>(s, out, j, part),
            (2, 0) => sums_of::<V, 2, false>(s, out, j, V::N),
            (2, _) => sums_of::<V, 2, true>(s, out, j, part),
            (3, 0) => sums_of::<V, 3, false>(s, out, j, V::N),
            (3, _) => sums_of::<V, 3, true>(s, out, j, part),
            _ => sums_of::<V, 4, true>(s, out, j, part),
        }
    }
}

/// `W` vectors of columns from `j` on; the last one has the first `last` lanes when `PART`.
///
/// # Safety
/// As [`sums_of_all`]; `out` has these columns.
#[inline(always)]
unsafe fn sums_of<V: Lanes, const W: usize, const PART: bool>(s: &Sums, out: *mut f32, j: usize, last: usize) {
    // SAFETY: the caller's promises.
    unsafe {
        let load = |p: *const f32, w: usize| {
            let p = p.wrapping_add(j + w * V::N);
            if PART && w == W - 1 { V::load_first(p, last) } else { V::load(p) }
        };
        let mut total = [V::splat(0.0); W];
        if s.total == Total::Added {
            total = std::array::from_fn(|w| load(out, w));
        }
        match s.group {
            None => {
                for i in 0..s.rows {
                    for (w, total) in total.iter_mut().enumerate() {
                        *total = total.add(load(s.x.wrapping_add(i * s.ld), w));
                    }
                }
            }
            Some(group) => {
                // Four partials at a time: each addition of a chain waits for the last one.
                let mut first = 0;
                while (s.rows - first) / 4 >= group {
                    let mut partials = [[V::splat(0.0); W]; 4];
                    for i in first..first + group {
                        for (g, partial) in partials.iter_mut().enumerate() {
                            for (w, partial) in partial.iter_mut().enumerate() {
                                *partial = partial.add(load(s.x.wrapping_add((i + g * group) * s.ld), w));
                            }
                        }
                    }
                    for partial in partials {
                        total = std::array::from_fn(|w| total[w].add(partial[w]));
                    }
                    first += 4 * group;
                }
                while first < s.rows {
                    let end = s.rows.min(first + group);
                    let mut partial = [V::splat(0.0); W];
                    for i in first..end {
                        for (w, partial) in partial.iter_mut().enumerate() {
                            *partial = partial.add(load(s.x.wrapping_add(i * s.ld), w));
                        }
                    }
                    total = std::array::from_fn(|w| total[w].add(partial[w]));
                    first = end;
                }
            }
        }
        if let Total::Sgd(sgd) = s.total {
            // Not by `from_fn`, which is not compiled for the instruction set.
            for (w, total) in total.iter_mut().enumerate() {
                let p = load(out, w);
                *total = if sgd.weight_decay == 0.0 {
                    sgd.step::<V, false>(p, *total)
                } else {
                    sgd.step::<V, true>(p, *total)
                };
            }
        }
        for (w, total) in total.into_iter().enumerate() {
            let p = out.wrapping_add(j + w * V::N);
            if PART && w == W - 1 { total.store_first(p, last) } else { total.store(p) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::testing::{cases, shape_is};
    use crate::matmul::tests::{Numbers, check_step, machines, same_bits};
    use std::ops::Range;

    /// Both sums of the columns of one shape against their order, on all machines.
    fn check_sums(machines: &[Cpu], numbers: &mut Numbers, rows: usize, group: usize, n: usize) {
        let ld = n + numbers.pick(0..9);
        shape_is(&(rows, group, n, ld));
        let x = numbers.rows(rows, n, ld, f32::NAN);
        let stored = numbers.rows(1, n, n, 0.0);
        for total in [Total::New, Total::Added] {
            let start = |j: usize| if total == Total::Added { stored[j] } else { 0.0 };
            let sums = same_bits(machines, "sum_rows", |cpu| {
                let mut out = stored.clone();
                sum_rows(cpu, rows, n, ld, &x, &mut out, total);
                out
            });
            let chain = |j: usize, from: f32, rows: Range<usize>| rows.fold(from, |sum, i| sum + x[i * ld + j]);
            (0..n).for_each(|j| assert_eq!(sums[j].to_bits(), chain(j, start(j), 0..rows).to_bits()));
            let sums = same_bits(machines, "sum_rows_grouped", |cpu| {
                let mut out = stored.clone();
                sum_rows_grouped(cpu, rows, group, n, ld, &x, &mut out, total);
                out
            });
            for (j, sum) in sums.iter().enumerate() {
                let partials = (0..rows).step_by(group).map(|g| chain(j, 0.0, g..rows.min(g + group)));
                assert_eq!(sum.to_bits(), partials.fold(start(j), |sum, p| sum + p).to_bits());
            }
        }
        let groups = rows / group;
        let sums = same_bits(machines, "sum_groups", |cpu| {
            let mut out = vec![7.0; reach(groups, n, ld)];
            sum_groups(cpu, groups, group, n, ld, &x, &mut out);
            out
        });
        for (g, j) in (0..groups).flat_map(|g| (0..ld).map(move |j| (g, j))).take(sums.len()) {
            let sum = if j < n { (0..group).fold(0.0, |sum, i| sum + x[(g * group + i) * ld + j]) } else { 7.0 };
            assert_eq!(sums[g * ld + j].to_bits(), f32::to_bits(sum));
        }
        check_step(machines, numbers, (n, n), &stored, "sum_rows", |cpu, sgd, out| {
            sum_rows(cpu, rows, n, ld, &x, out, sgd.map_or(Total::New, Total::Sgd));
        });
        check_step(machines, numbers, (n, n), &stored, "sum_rows_grouped", |cpu, sgd, out| {
            sum_rows_grouped(cpu, rows, group, n, ld, &x, out, sgd.map_or(Total::New, Total::Sgd));
        });
    }

    #[test]
    fn column_sums_are_chains() {
        let (machines, mut numbers) = (machines(), Numbers::new(4));
        for (rows, group, n) in
            [(1, 1, 1), (20, 7, 25), (50, 50, 2), (9, 4, 64), (33, 11, 200), (0, 3, 5), (3000, 49, 131), (2000, 9, 70)]
        {
            check_sums(&machines, &mut numbers, rows, group, n);
        }
        cases("sum_rows", 100, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let (rows, group, n) = (numbers.pick(0..60), numbers.pick(1..15), numbers.pick(1..100));
            check_sums(&machines, &mut numbers, rows, group, n);
        });
    }
}
