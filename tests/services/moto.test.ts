import { battery } from './battery.ts'

battery('moto')
