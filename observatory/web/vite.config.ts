import { svelte } from "@sveltejs/vite-plugin-svelte";
import license from "rollup-plugin-license";
import { defineConfig } from "vitest/config";

// The server puts its public path before "./assets": what is built works below any.
export default defineConfig({
  base: "./",
  plugins: [
    svelte(),
    license({ thirdParty: { includePrivate: false, output: { file: "dist/licences.txt" } } }),
  ],
  build: { target: "es2022", outDir: "dist", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
});
