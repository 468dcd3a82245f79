import { battery } from './battery.ts'

battery('mariadb')
