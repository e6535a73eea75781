//! A TrueType font with one letter, as small as browsers take one (OpenType 1.9, "Organization of an
//! OpenType Font"): they load a font from another origin by a CORS request alone.

/// Units of the em, the width and the height of the letter.
const EM: u16 = 1000;

/// The whole file.
pub(crate) fn font() -> Vec<u8> {
    // Sorted by tag, as they must be.
    let tables: [(&[u8; 4], Vec<u8>); 10] = [
        (b"OS/2", os2()),
        (b"cmap", cmap()),
        (b"glyf", glyf()),
        (b"head", head()),
        (b"hhea", hhea()),
        // A width and a left side for each glyph.
        (b"hmtx", words(&[EM, 0, EM, 0])),
        // In units of two bytes: the first glyph is empty.
        (b"loca", words(&[0, 0, 16])),
        (b"maxp", maxp()),
        // No names.
        (b"name", words(&[0, 0, 6])),
        // Version 3.0: no names of glyphs.
        (b"post", [words(&[3]), vec![0; 30]].concat()),
    ];
    let count = u16::try_from(tables.len()).expect("a few tables");
    // What a binary search over them starts with: the largest power of two among them is 8.
    let mut file = words(&[1, 0, count, 8 * 16, 3, count * 16 - 8 * 16]);
    let mut at = file.len() + 16 * tables.len();
    for (tag, table) in &tables {
        file.extend_from_slice(*tag);
        // Nobody looks at the checksum.
        for number in [0, at, table.len()] {
            file.extend_from_slice(&u32::try_from(number).expect("a small file").to_be_bytes());
        }
        at += table.len().next_multiple_of(4);
    }
    for (_, mut table) in tables {
        table.resize(table.len().next_multiple_of(4), 0);
        file.append(&mut table);
    }
    file
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Version 0: regular weight and width, from `A` to `A`.
fn os2() -> Vec<u8> {
    let mut table = vec![0, EM, 400, 5, 0];
    // Sizes of sub- and superscripts, the class, PANOSE, ranges, vendor.
    table.extend([0; 11 + 5 + 8 + 2]);
    table.extend([0x40, 65, 65, EM, 0, 0, EM, 0]);
    words(&table)
}

/// Format 4: `A` is glyph 1.
fn cmap() -> Vec<u8> {
    let mut table = vec![0, 1, 3, 1, 0, 12];
    table.extend([4, 32, 0, 4, 4, 1, 0]);
    table.extend([65, 0xffff, 0, 65, 0xffff, 1_u16.wrapping_sub(65), 1, 0, 0]);
    words(&table)
}

/// A triangle, in 32 bytes.
fn glyf() -> Vec<u8> {
    let mut table = words(&[1, 0, 0, EM, EM, 2, 0]);
    table.extend([1; 3]);
    // Steps from point to point: across, then up.
    table.extend(words(&[0, EM, 0, 0, 0, EM]));
    table.resize(32, 0);
    table
}

fn head() -> Vec<u8> {
    let mut table = vec![1, 0, 1, 0, 0, 0, 0x5f0f, 0x3cf5, 0, EM];
    // Dates.
    table.extend([0; 8]);
    table.extend([0, 0, EM, EM, 0, 8, 2, 0, 0]);
    words(&table)
}

fn hhea() -> Vec<u8> {
    let mut table = vec![1, 0, EM, 0, 0, EM, 0, 0, EM, 1];
    table.extend([0; 7]);
    table.push(2);
    words(&table)
}

/// Two glyphs, one contour of three points at most.
fn maxp() -> Vec<u8> {
    let mut table = vec![1, 0, 2, 3, 1, 0, 0, 1];
    table.extend([0; 8]);
    words(&table)
}
