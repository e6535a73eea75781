// Every kind of request that has to do with CORS, against the API on another origin. What comes of
// each is a word; `settle` makes one of a failure.
"use strict";

const at = (name) => `${API}/v1/${name}/${WHO}`;
const settle = (promise) => promise.catch((error) => error.name);
const ask = async (name, options) => String((await fetch(at(name), options)).status);
const json = { "content-type": "application/json" };

// A picture that another origin serves may be drawn, but what was drawn cannot be read.
const drawn = (name, mode) =>
  new Promise((done) => {
    const image = new Image();
    if (mode) image.crossOrigin = mode;
    image.onerror = () => done("error");
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.getContext("2d").drawImage(image, 0, 0);
      try {
        canvas.toDataURL();
        done("clean");
      } catch (error) {
        done(error.name);
      }
    };
    image.src = at(name);
  });

const uploaded = (name) =>
  new Promise((done) => {
    const request = new XMLHttpRequest();
    let seen = 0;
    request.open("POST", at(name));
    request.upload.onprogress = (event) => (seen = event.loaded);
    request.onerror = () => done("error");
    request.onload = () => done(`${request.status} ${seen}`);
    request.send("x".repeat(1000));
  });

const kinds = {
  // First: the first request of the first connection is a preflight then.
  put_json: () => ask("put_json", { method: "PUT", headers: json, body: "{}" }),
  get: () => ask("get"),
  get_include: () => ask("get_include", { credentials: "include" }),
  get_omit: () => ask("get_omit", { credentials: "omit" }),
  custom: () =>
    ask("custom", {
      headers: { authorization: "Bearer x", "x-requested-with": "page" },
      credentials: "include",
    }),
  method: () => ask("method", { method: "X-ANY" }),
  lower_case: () => ask("lower_case", { method: "patch" }),
  header: () => ask("header", { headers: { "x-other": "1" } }),
  exposed: async () => {
    const { headers } = await fetch(at("exposed"));
    return `${headers.get("x-request-id")} ${headers.get("x-secret")}`;
  },
  canvas: () => drawn("canvas", "anonymous"),
  canvas_include: () => drawn("canvas_include", "use-credentials"),
  canvas_tainted: () => drawn("canvas_tainted"),
  font: async () => (await new FontFace("f", `url(${at("font")})`).load()).status,
  module: async () => (await import(at("module"))).default,
  upload: () => uploaded("upload"),
  // One connection for all of them, where there is HTTP/1.1.
  kept_alive: async () => {
    const all = [];
    for (const part of ["a", "b", "c"]) {
      all.push(await ask(`kept_alive_${part}`, { method: "PUT", headers: json, body: "{}" }));
    }
    return all.join(" ");
  },
};

// One after the other.
async function every() {
  const results = {};
  for (const [name, kind] of Object.entries(kinds)) results[name] = await settle(kind());
  return results;
}
