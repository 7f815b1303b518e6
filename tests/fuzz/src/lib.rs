//! What the fuzz targets share.

/// Numbers that follow from an input, so that one input always lives the same life.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with a hash of the input (FNV-1a).
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash)
    }

    /// A number below `end`, which is at least 1 (SplitMix64).
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

/// What a person reads must be one line without control characters, however strange the input was.
pub fn assert_plain(text: &str, what: &str) {
    assert!(!text.trim().is_empty(), "{what} says nothing");
    assert!(
        !text.contains(|char: char| char.is_control()),
        "{what} has control characters: {text:?}"
    );
}
