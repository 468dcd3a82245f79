import { battery } from './battery.ts'

battery('postgresql')
