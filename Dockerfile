# Server and worker in one image: `serve` or `worker` is the command. See docs/scaling.md.
# This image has a C++ compiler, which a clone needs; Python is not needed. See docs/installing.md.
FROM node:20-bookworm AS build
WORKDIR /app
# TensorFlow's library is linked to from where it is kept: inside the folder that goes into the image.
ENV XDG_CACHE_HOME=/app/.cache
COPY . .
# Installs the packages, TensorFlow's library and the addon, and builds dist/.
RUN node scripts/setup.mjs && npm run build

FROM node:20-bookworm-slim
# The same path as above: the addon knows where TensorFlow's library lies.
COPY --from=build /app /app
# Only what these folders hold is written to.
RUN mkdir /data /cache && chown node:node /data /cache
ENV TFJS_DIFFUSION_DATA=/data TFJS_DIFFUSION_CACHE=/cache
USER node
WORKDIR /app
ENTRYPOINT ["node", "dist/cli/main.js"]
CMD ["serve"]
