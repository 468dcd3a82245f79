// The kernel of an x86-64 machine does not run arm64 programs, so what a test starts as another Node is the emulator again.
process.execPath = require('node:path').join(__dirname, 'node')
