// The Meta-style module registry: the only surface through which wa-js' loader finds modules.
//
// Owns __d, require, importNamespace and ErrorGuard, and the fault that makes modules late. A
// module named WA… stands in for one of WhatsApp Web's; Sandbox… are this page's own.
"use strict";
(() => {
  const declared = Object.create(null);
  const loaded = Object.create(null);
  const config = window.sandboxConfig;

  const load = (id) => {
    if (id in loaded) return loaded[id];
    const entry = declared[id];
    if (!entry) throw new Error(`Requiring unknown module "${id}"`);
    const module = { exports: {} };
    loaded[id] = module.exports;
    entry.factory(window, load, load, load, module, module.exports);
    loaded[id] = module.exports;
    return module.exports;
  };

  const declare = (id, dependencies, factory) => {
    declared[id] = { id, dependencies, factory };
  };

  window.__d = (id, dependencies, factory) => {
    if (config.lateModules.includes(id)) {
      setTimeout(declare, config.lateMs, id, dependencies, factory);
    } else {
      declare(id, dependencies, factory);
    }
  };
  window.require = (id) => (id === "__debug" ? { modulesMap: declared } : load(id));
  window.importNamespace = load;
  window.ErrorGuard = { skipGuardGlobal() {} };

  // A stand-in: `exportsOf(require)` gives the module's exports.
  window.standIn = (id, exportsOf) =>
    __d(id, [], (global, require, dynamicRequire, namespace, module) => {
      module.exports = exportsOf(require);
    });

  // Calls a stand-in's function the way WhatsApp's own code does: through the registry, so that
  // a wrapper wa-js put there is met. A module that is late is called without its wrapper.
  window.callStandIn = (id, name, ...args) => {
    if (id in declared) return load(id)[name](...args);
    return undefined;
  };
})();
