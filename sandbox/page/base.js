// Backbone-like models and collections, as far as wa-js relies on them.
//
// Owns events and attribute change events: writing an attribute `x` fires `change:x`.
"use strict";
standIn("SandboxBase", () => {
  class Emitter {
    constructor() {
      Object.defineProperty(this, "_listeners", { value: new Map() });
    }

    on(name, listener) {
      if (!this._listeners.has(name)) this._listeners.set(name, []);
      this._listeners.get(name).push(listener);
      return this;
    }

    once(name, listener) {
      const wrapped = (...args) => {
        this.off(name, wrapped);
        listener.apply(this, args);
      };
      wrapped.original = listener;
      return this.on(name, wrapped);
    }

    off(name, listener) {
      const left = (this._listeners.get(name) || []).filter(
        (known) => known !== listener && known.original !== listener,
      );
      this._listeners.set(name, left);
      return this;
    }

    trigger(name, ...args) {
      for (const listener of [...(this._listeners.get(name) || [])]) listener.apply(this, args);
      for (const listener of [...(this._listeners.get("all") || [])]) {
        listener.call(this, name, ...args);
      }
      return this;
    }
  }

  class BaseModel extends Emitter {
    constructor(attributes = {}) {
      super();
      Object.assign(this, attributes);
      const model = new Proxy(this, {
        set(target, name, value) {
          const before = target[name];
          Reflect.set(target, name, value, target);
          if (typeof name === "string" && !name.startsWith("_") && before !== value) {
            model.trigger(`change:${name}`, model, value, before);
            model.trigger("change", model);
          }
          return true;
        },
      });
      return model;
    }

    set(attributes) {
      Object.assign(this, attributes);
      return this;
    }

    get attributes() {
      return { ...this };
    }

    toJSON() {
      return { ...this };
    }
  }

  const keyOf = (thing) => {
    if (thing === null || thing === undefined) return "";
    if (typeof thing === "string") return thing;
    return String(thing instanceof Emitter ? thing.id : thing);
  };

  class BaseCollection extends Emitter {
    constructor() {
      super();
      Object.defineProperty(this, "_models", { value: [] });
      Object.defineProperty(this, "_index", { value: new Map() });
    }

    get length() {
      return this._models.length;
    }

    add(things) {
      return [].concat(things).map((thing) => {
        const Model = this.constructor.model;
        const model = thing instanceof Model ? thing : new Model(thing);
        const known = this._index.get(keyOf(model));
        if (known) return known;
        this._models.push(model);
        this._index.set(keyOf(model), model);
        model.on("all", (...args) => this.trigger(...args));
        this.trigger("add", model, this, {});
        return model;
      });
    }

    get(thing) {
      return this._index.get(keyOf(thing));
    }

    async find(thing) {
      return this.get(thing);
    }

    remove(thing) {
      const model = this.get(thing);
      if (!model) return;
      this._models.splice(this._models.indexOf(model), 1);
      this._index.delete(keyOf(model));
      this.trigger("remove", model);
    }

    reset() {
      this._models.length = 0;
      this._index.clear();
      this.trigger("reset");
    }

    findFirst(test) {
      return this._models.find(test);
    }

    getModelsArray() {
      return this._models;
    }

    toArray() {
      return [...this._models];
    }

    map(mapper) {
      return this._models.map(mapper);
    }

    filter(test) {
      return this._models.filter(test);
    }

    some(test) {
      return this._models.some(test);
    }

    forEach(visit) {
      this._models.forEach(visit);
    }
  }

  // wa-js tells model classes apart by `proxyName` on the prototype.
  const modelClass = (proxyName, extra = {}) => {
    const Model = class extends BaseModel {};
    Model.prototype.proxyName = proxyName;
    Object.defineProperties(Model.prototype, Object.getOwnPropertyDescriptors(extra));
    return Model;
  };

  const collectionClass = (Model) => {
    const Collection = class extends BaseCollection {};
    Collection.model = Model;
    return Collection;
  };

  return { Emitter, BaseModel, BaseCollection, modelClass, collectionClass };
});
