/** Prints the versions of TensorFlow and of the oneDNN in it as one JSON line. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { loadNative } from "../src/runtime/native.js";

if (process.env.ONEDNN_VERBOSE) {
  const { tf } = loadNative();
  tf.matMul(tf.ones([64, 64]), tf.ones([64, 64])).dataSync();
} else {
  const child = spawnSync(process.execPath, ["--import", "tsx", fileURLToPath(import.meta.url)], {
    env: { ...process.env, ONEDNN_VERBOSE: "1" },
    encoding: "utf8",
  });
  const onednn = /oneDNN v([\d.]+)/.exec(child.stdout)?.[1] ?? "off";
  console.log(JSON.stringify({ tensorflow: loadNative().version, onednn }));
}
