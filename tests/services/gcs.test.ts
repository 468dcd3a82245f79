import { battery } from './battery.ts'

battery('gcs')
