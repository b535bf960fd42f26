//! What a plugin's author needs before there is a plugin: a project to begin with, a compiler that knows the target, a component of what
//! the compiler made.
//!
//! **Invariants**
//! - One search for a toolchain, and one way from module to component, for the shipped plugins and for everybody else's.
//! - A new project needs nothing of this tree: the SDK and the interface file are written into it.
//! - What is wrong with a module is said in words, never in a linker's.
//!
//! Deliberately absent: running plugins (`iaso-harness`), signatures and manifests (`iaso-package`).

mod component;
mod project;
mod toolchain;

pub use component::{ComponentError, component_of};
pub use project::{Language, ProjectError, project};
pub use toolchain::{TARGET, Toolchain, ToolchainError, module_path};
