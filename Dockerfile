# syntax=docker/dockerfile:1.7
# The server alone: Postgres and LiteLLM are containers of their own (docker-compose.yml).

FROM node:24.21.0-bookworm-slim AS build
WORKDIR /weir
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
COPY launch ./launch
RUN node scripts/build.mjs

FROM node:24.21.0-bookworm-slim AS packages
WORKDIR /weir
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund && npm cache clean --force

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=4100 WEIR_HOME=/var/lib/weir
# Ends of calls that the database could not take wait here: it has to outlive the container.
RUN install -d -m 0700 -o node -g node /var/lib/weir
VOLUME /var/lib/weir
WORKDIR /weir
COPY --from=packages /weir/node_modules ./node_modules
COPY --from=build /weir/dist ./dist
COPY package.json ./
USER node
EXPOSE 4100
HEALTHCHECK --interval=10s --timeout=3s --start-period=130s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/live`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Node itself is process 1: signals reach it, and it starts no children that somebody would have to collect.
CMD ["node", "dist/src/main.js"]
