//! What a plugin's author needs before there is a plugin: a project to begin with, a compiler that knows the target, a component of what
//! the compiler made.
//!
//! **Invariants**
//! - One search for a toolchain, and one way from module to component, for the shipped plugins and for everybody else's.
//! - A new project needs nothing of this tree: the SDK and the interface file are written into it.
//! - What is wrong with a module is said in words, never in a linker's.
//!
//! Deliberately absent: running plugins (`iaso-harness`), signatures and manifests (`iaso-package`).

mod c;
mod component;
mod language;
mod project;
mod script;
mod template;
mod tool;
mod toolchain;

pub use c::Clang;
pub use component::{ComponentError, component_of};
pub use language::{Language, build_other};
pub use project::{ProjectError, project};
pub use tool::BuildError;
pub use toolchain::{TARGET, Toolchain, ToolchainError, module_path};
