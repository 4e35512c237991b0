//! Philox4x32-10: random numbers as a function of a key and a counter, so that element `i` of a stream can be had without
//! the ones before it.
//!
//! Salmon, Moraes, Dror, Shaw: *Parallel random numbers: as easy as 1, 2, 3* (SC 2011).

/// The four words of the block `counter` of the stream `key`: ten rounds, as in Random123. Integers only.
#[inline(always)]
pub fn philox4x32_10(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let [mut k0, mut k1] = key;
    // Of each the lower half counts: what is above it is cut off by the products, which vectors of 64 bits do for nothing.
    let [mut c0, mut c1, mut c2, mut c3] = counter.map(u64::from);
    for round in 0..10 {
        if round > 0 {
            k0 = k0.wrapping_add(0x9E37_79B9);
            k1 = k1.wrapping_add(0xBB67_AE85);
        }
        let p0 = u64::from(c0 as u32) * 0xD251_1F53;
        let p1 = u64::from(c2 as u32) * 0xCD9E_8D57;
        (c0, c1, c2, c3) = (p1 >> 32 ^ c1 ^ u64::from(k0), p1, p0 >> 32 ^ c3 ^ u64::from(k1), p0);
    }
    [c0, c1, c2, c3].map(|c| c as u32)
}

#[cfg(test)]
mod tests {
    use super::philox4x32_10;

    /// `kat_vectors` of Random123.
    #[test]
    fn known_answers() {
        let f = u32::MAX;
        assert_eq!(philox4x32_10([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32_10([f; 2], [f; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32_10([0xa409_3822, 0x299f_31d0], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
