// Plugins of the smallest shop that exports and imports; everything that differs from run to run is given.
const { DATABASE_URL, SHOP_ORIGIN } = process.env

module.exports = {
  projectConfig: {
    database_type: "postgres",
    database_url: DATABASE_URL,
    jwt_secret: "secret of a laboratory",
    cookie_secret: "secret of a laboratory",
  },
  plugins: [
    "medusa-payment-manual",
    "medusa-fulfillment-manual",
    { resolve: "@medusajs/file-local", options: { upload_dir: "uploads", backend_url: SHOP_ORIGIN } },
  ],
  modules: {
    cacheService: { resolve: "@medusajs/cache-inmemory" },
    eventBus: { resolve: "@medusajs/event-bus-local" },
  },
}
