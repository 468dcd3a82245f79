import { battery } from './battery.ts'

battery('redis')
