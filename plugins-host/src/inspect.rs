//! What a component says of itself before anything of it runs: its imports, its exports, and for which version of the
//! interface it was built.

use wasmparser::{Chunk, Encoding, Parser, Payload, Validator, WasmFeatures};

use crate::error::LoadError;
use crate::limits::COMPONENT_BYTES;

/// Versions of the interface that plugins may be built for, the newest last.
pub(crate) const SUPPORTED: &[&str] = &["0.1.0"];
const BRIDGE: &str = "semilayer:bridge/bridge";

/// A component as its file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The version of `semilayer:bridge` that it was built for.
    pub wit_version: String,
    /// The interfaces that it imports, with their versions.
    pub imports: Vec<String>,
    /// The interfaces that it exports, with their versions.
    pub exports: Vec<String>,
    /// The file's size.
    pub size_bytes: usize,
}

/// Reads a component's imports and exports. Nothing is compiled and nothing run.
///
/// # Errors
/// Bytes that are no component, a component that is no bridge, one for another version of the interface.
pub fn inspect(component: &[u8]) -> Result<Inspection, LoadError> {
    if component.len() > COMPONENT_BYTES {
        return Err(LoadError::TooLarge { bytes: component.len(), limit: COMPONENT_BYTES });
    }
    let (imports, exports) = outside(component)?;
    let wit_version = version(&exports)?;
    Ok(Inspection { wit_version, imports, exports, size_bytes: component.len() })
}

/// Whether a component that could not be compiled is one that needs `component-model-async`.
pub(crate) fn is_async(component: &[u8]) -> bool {
    let valid = |features| Validator::new_with_features(features).validate_all(component).is_ok();
    let with = WasmFeatures::all();
    let without = with.difference(
        WasmFeatures::CM_ASYNC
            .union(WasmFeatures::CM_ASYNC_STACKFUL)
            .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS)
            .union(WasmFeatures::CM_THREADING),
    );
    valid(with) && !valid(without)
}

/// The names of the outermost component's imports and exports. What is inside of it is stepped over: whoever compiles it
/// looks at all of it.
fn outside(component: &[u8]) -> Result<(Vec<String>, Vec<String>), LoadError> {
    let broken = |error: wasmparser::BinaryReaderError| LoadError::NotWasm(error.to_string());
    let mut imports = Vec::new();
    let mut exports = Vec::new();
    let mut parser = Parser::new(0);
    let mut rest = component;
    loop {
        let (consumed, payload) = match parser.parse(rest, true).map_err(broken)? {
            Chunk::Parsed { consumed, payload } => (consumed, payload),
            Chunk::NeedMoreData(_) => return Err(torn()),
        };
        rest = rest.get(consumed..).ok_or_else(torn)?;
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => return Err(LoadError::CoreModule),
            Payload::ModuleSection { unchecked_range: inside, .. }
            | Payload::ComponentSection { unchecked_range: inside, .. } => {
                rest = rest.get(inside.len()..).ok_or_else(torn)?;
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    exports.push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::End(_) => break,
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn torn() -> LoadError {
    LoadError::NotWasm("it ends in the middle of a section".to_owned())
}

fn version(exports: &[String]) -> Result<String, LoadError> {
    let versioned = |export: &String| Some(export.strip_prefix(BRIDGE)?.strip_prefix('@')?.to_owned());
    let found = exports.iter().find_map(versioned).ok_or(LoadError::NotABridge)?;
    if SUPPORTED.contains(&found.as_str()) {
        Ok(found)
    } else {
        Err(LoadError::Version { found, supported: SUPPORTED })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn refusal(bytes: &[u8]) -> String {
        inspect(bytes).unwrap_err().to_string()
    }

    /// A component that exports an instance without anything in it under a name.
    fn exporting(name: &str) -> Vec<u8> {
        let mut bytes = COMPONENT.to_vec();
        // An instance of no exports: section 5, one instance, made of exports, none of them.
        bytes.extend([5, 3, 1, 1, 0]);
        let mut export = vec![1, 0, u8::try_from(name.len()).unwrap()];
        export.extend(name.as_bytes());
        // Sort instance, index 0, no type.
        export.extend([5, 0, 0]);
        bytes.extend([11, u8::try_from(export.len()).unwrap()]);
        bytes.extend(export);
        bytes
    }

    #[test]
    fn what_is_no_component_is_named_for_what_it_is() {
        assert!(refusal(MODULE).starts_with("a core module, not a component: build it for wasm32-wasip2"));
        assert!(refusal(b"#!/bin/sh").starts_with("not a WebAssembly component: "));
        assert!(refusal(b"").starts_with("not a WebAssembly component: "));
        assert_eq!(refusal(COMPONENT), "a component that does not export semilayer:bridge/bridge");
    }

    #[test]
    fn a_component_for_another_version_says_which() {
        let found = inspect(&exporting("semilayer:bridge/bridge@0.1.0")).unwrap();
        assert_eq!((found.wit_version.as_str(), found.imports.len(), found.exports.len()), ("0.1.0", 0, 1));
        assert_eq!(
            refusal(&exporting("semilayer:bridge/bridge@7.1.0")),
            "built for semilayer:bridge@7.1.0; this runner has 0.1.0"
        );
        assert_eq!(
            refusal(&exporting("wasi:cli/run@0.2.0")),
            "a component that does not export semilayer:bridge/bridge"
        );
    }

    #[test]
    fn a_component_of_the_asynchronous_model_is_named_as_that() {
        let plain = exporting("semilayer:bridge/bridge@0.1.0");
        assert!(!is_async(&plain));
        let mut component = plain;
        // Section 7, one type: an asynchronous function of nothing to nothing.
        component.extend([7, 5, 1, 0x43, 0, 1, 0]);
        inspect(&component).unwrap();
        let engine = wasmtime::Engine::new(&crate::engine::config()).unwrap();
        let refused = crate::engine::compile(&engine, &component).map(drop).unwrap_err();
        assert!(matches!(refused, LoadError::Async), "{refused}");
        assert!(refused.to_string().contains("--backend-qjs-disable-async"), "{refused}");
    }

    #[test]
    fn a_torn_file_is_no_component() {
        let whole = exporting("semilayer:bridge/bridge@0.1.0");
        for length in 0..whole.len() {
            assert!(inspect(&whole[..length]).is_err(), "{length}");
        }
    }
}
