import { battery } from './battery.ts'

battery('rclone')
