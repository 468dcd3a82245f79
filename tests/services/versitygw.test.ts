import { battery } from './battery.ts'

battery('versitygw')
