// Medusa's own start command listens on every interface, whatever host is configured; a laboratory must not.
// And Medusa looks at its queue every three seconds, come what may; here a test can say when it does.
const assert = require("node:assert")
const http = require("node:http")
const express = require("express")
const sleeping = require("@medusajs/medusa/dist/utils/sleep")
const { default: load } = require("@medusajs/medusa/dist/loaders")

const PERIOD = 3000 // Medusa's own, in milliseconds
const pause = Number(process.env.SHOP_PAUSE)

class Queue {
  held = false
  waiting = [] // who wants to know of the next pause
  go = null // ends the pause between two looks, while there is one

  // What Medusa calls between two looks: by then all that it found has begun, and has left the queue.
  sleep(milliseconds) {
    assert.strictEqual(milliseconds, PERIOD, "Medusa looks at its queue in another rhythm than was measured")
    return new Promise((look) => {
      const go = () => {
        if (this.go !== go) return
        this.go = null
        look()
      }
      this.go = go
      setTimeout(() => this.held || go(), pause)
      this.waiting.splice(0).forEach((tell) => tell())
    })
  }

  nextPause() {
    return new Promise((tell) => this.waiting.push(tell))
  }

  async hold() {
    this.held = true
    if (!this.go) await this.nextPause()
  }

  async look() {
    assert(this.held && this.go, "only a queue that is held is looked at on demand")
    const looked = this.nextPause()
    this.go()
    await looked
  }

  async release() {
    this.held = false
    if (this.go) this.go()
  }
}

async function serve(port) {
  const app = express()
  const queue = new Queue()
  sleeping.sleep = (milliseconds) => queue.sleep(milliseconds)
  app.post("/lab/queue/:order(hold|look|release)", async ({ params }, answer) => {
    await queue[params.order]()
    answer.end()
  })
  await load({ directory: __dirname, expressApp: app })
  http.createServer(app).listen(port, "127.0.0.1", () => console.log(`listening on port ${port}`))
}

serve(Number(process.env.SHOP_PORT)).catch((error) => {
  console.error(error)
  process.exit(1)
})
