import { battery } from './battery.ts'

battery('folder')
