// The program of this process is the dynamic linker, so what a test starts as another Node would be the linker alone.
process.execPath = require('node:path').join(__dirname, 'node')
