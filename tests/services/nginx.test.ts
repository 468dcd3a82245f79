import { battery } from './battery.ts'

battery('nginx')
