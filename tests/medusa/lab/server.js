// Medusa's own start command listens on every interface, whatever host it is told; a laboratory must not.
const http = require("node:http")
const express = require("express")
const { default: load } = require("@medusajs/medusa/dist/loaders")

async function serve(port) {
  const app = express()
  await load({ directory: __dirname, expressApp: app })
  http.createServer(app).listen(port, "127.0.0.1", () => console.log(`listening on port ${port}`))
}

serve(Number(process.env.SHOP_PORT)).catch((error) => {
  console.error(error)
  process.exit(1)
})
