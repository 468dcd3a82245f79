export { NotifySocket, type NotifySocketOptions } from './takeover/notify-socket.ts'
