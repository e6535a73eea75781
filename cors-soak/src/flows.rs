//! The flow map: the least recently used entry makes room for a new one.

use cors_common::wire::segment::Tuple;

/// A map of bounded size.
#[derive(Clone, Debug)]
pub struct Flows<V> {
    /// The most recently used one last.
    entries: Vec<(Tuple, V)>,
    capacity: usize,
    evicted: Vec<Tuple>,
}

impl<V> Flows<V> {
    /// An empty one.
    pub const fn new(capacity: usize) -> Self {
        Self { entries: Vec::new(), capacity, evicted: Vec::new() }
    }

    /// The entry, which is the most recently used one then.
    pub fn get(&mut self, tuple: &Tuple) -> Option<&mut V> {
        let at = self.entries.iter().position(|(key, _)| key == tuple)?;
        let entry = self.entries.remove(at);
        self.entries.push(entry);
        self.entries.last_mut().map(|(_, value)| value)
    }

    /// Stores or replaces.
    pub fn put(&mut self, tuple: Tuple, value: V) {
        self.forget(&tuple);
        if self.entries.len() >= self.capacity {
            self.evicted.push(self.entries.remove(0).0);
        }
        self.entries.push((tuple, value));
    }

    /// Removes.
    pub fn forget(&mut self, tuple: &Tuple) {
        self.entries.retain(|(key, _)| key != tuple);
    }

    /// Every key there is.
    pub fn keys(&self) -> Vec<Tuple> {
        self.entries.iter().map(|(key, _)| *key).collect()
    }

    /// Takes the keys that had to make room.
    pub fn take_evicted(&mut self) -> Vec<Tuple> {
        std::mem::take(&mut self.evicted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let tuple = |port| Tuple { client_port: port, ..Tuple::ZERO };
        let mut flows = Flows::new(2);
        flows.put(tuple(1), 'a');
        flows.put(tuple(2), 'b');
        flows.get(&tuple(1));
        flows.put(tuple(3), 'c');
        assert_eq!(flows.take_evicted(), [tuple(2)]);
        assert_eq!(flows.keys(), [tuple(1), tuple(3)]);
    }
}
