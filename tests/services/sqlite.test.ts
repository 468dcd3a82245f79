import { battery } from './battery.ts'

battery('sqlite')
