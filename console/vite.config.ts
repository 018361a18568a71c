import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// the bundle is package data of the server, built by the build hook and never committed
export default defineConfig({
  base: "/ui/",
  plugins: [react()],
  // the server puts the nonce of the response in its place
  html: { cspNonce: "NONCE-OF-THIS-RESPONSE" },
  build: { outDir: "../src/superagent/console_static", emptyOutDir: true, manifest: true, target: "es2022", modulePreload: { polyfill: false } },
});
