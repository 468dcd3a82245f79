import { battery } from './battery.ts'

battery('apache')
