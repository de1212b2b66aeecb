//! Kinds of values: how one is read, and what may be written.

use super::shape::Shape;
use super::source_file::SourceFile;
use super::yaml::Node;

/// How a value is written: its reader, and its shape.
pub(super) trait Kind {
    /// What is read.
    type Value;

    /// Reads a value. `None` where it is wrong, which is reported.
    fn read(&self, source: &SourceFile, node: &Node) -> Option<Self::Value>;

    /// What may be written.
    fn shape(&self) -> Shape;
}

/// A kind whose values can be defaults.
pub(super) trait FormatDefault: Kind {
    /// How the value is written.
    fn format(&self, value: &Self::Value) -> String;
}

/// A kind with a reader of its own.
pub(super) struct CustomKind<T> {
    read: fn(&SourceFile, &Node) -> Option<T>,
    shape: fn() -> Shape,
}

/// A kind with this reader and shape.
pub(super) const fn own<T>(read: fn(&SourceFile, &Node) -> Option<T>, shape: fn() -> Shape) -> CustomKind<T> {
    CustomKind { read, shape }
}

/// The shape of a kind, whose values are of this type.
pub(super) fn shape_of<T>(kind: &impl Kind<Value = T>) -> Shape {
    kind.shape()
}

impl<T> Kind for CustomKind<T> {
    type Value = T;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<T> {
        (self.read)(source, node)
    }

    fn shape(&self) -> Shape {
        (self.shape)()
    }
}
