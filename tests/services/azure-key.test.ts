import { battery } from './battery.ts'

battery('azure-key')
